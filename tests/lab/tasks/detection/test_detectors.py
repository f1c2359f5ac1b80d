"""torchvision's detectors in the task's form: with torchvision where it imports, else with what answers in its way."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers_lab import Command, command
from torch import Tensor, nn

from limen.lab.tasks import registry as tasks
from limen.lab.tasks.detection import default_boxes, libraries
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.surgery import swap_

FOUND = {
    "boxes": torch.tensor([[8.0, 4.0, 24.0, 20.0], [0.0, 0.0, 10.0, 10.0]]),
    "labels": torch.tensor([2, 1]),
    "scores": torch.tensor([0.9, 0.25]),
}


class Answering(nn.Module):
    """Answers and losses in the form of torchvision's detectors."""

    def __init__(self, **given: object) -> None:
        super().__init__()
        self.given, self.seen = given, None

    def forward(self, images: list[Tensor], truth: list[dict[str, Tensor]] | None = None) -> object:
        if self.training:
            self.seen = truth
            return {"one": torch.tensor(1.0), "other": torch.tensor(0.5)}
        nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "scores": torch.zeros(0)}
        return [FOUND, nothing][: len(images)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def two_stage(monkeypatch: pytest.MonkeyPatch) -> libraries.FasterRCNN:
    made = SimpleNamespace(
        fasterrcnn_resnet50_fpn=Answering,
        anchor_utils=SimpleNamespace(AnchorGenerator=lambda sizes, aspects: sizes),
        faster_rcnn=SimpleNamespace(MultiScaleRoIAlign=lambda levels, side, samples, canonical_scale: canonical_scale),
    )
    monkeypatch.setattr(libraries, "detectors", lambda name: made)
    return libraries.FasterRCNN((32, 64), 2)


def test_boxes_that_a_second_stage_found_are_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    network = two_stage(monkeypatch).eval()
    given = network.model.given
    assert (given["num_classes"], given["min_size"]) == (3, 32)
    assert given["rpn_anchor_generator"] == ((1.28,), (2.56,), (5.12,), (10.24,), (20.48,))  # 32 to 512 of 800 pixels
    assert given["box_roi_pool"] == 9
    outputs = network(torch.zeros(2, 1, 32, 64))
    assert outputs.shape == (2, 100, 11)
    answer = default_boxes.detections(outputs)
    scale = torch.tensor([64.0, 32, 64, 32])
    wanted = torch.tensor([[0.9, 1, *(FOUND["boxes"][0] / scale)], [0.25, 0, *(FOUND["boxes"][1] / scale)]])
    assert torch.allclose(answer[0, :2], wanted, atol=1e-5)
    assert (answer[0, 2:, 0] == 0).all()
    assert (answer[1, :, 0] == 0).all()


def test_a_second_stage_learns_from_pixels_and_labels_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network, task = two_stage(monkeypatch).train(), tasks.find("detection")
    objects = torch.tensor([[[1.0, 0.25, 0.5, 0.5, 1.0], [ignored(0), 0, 0, 1, 1], [NOTHING, 0, 0, 0, 0]]])
    assert task.objective(network, torch.zeros(1, 3, 32, 64), objects) == 1.5
    truth = network.model.seen[0]
    assert truth["boxes"].tolist() == [[16.0, 16.0, 32.0, 32.0]]
    assert truth["labels"].tolist() == [2]


def test_without_torchvision_there_is_one_sentence(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    for name in (libraries.SSD300.NAME, libraries.FasterRCNN.NAME):
        outcome = run("compare", "--task", "detection", "--data", tmp_path, "--network", name)
        assert outcome.code == 2
        assert f"the network '{name}' needs torchvision" in outcome.sentence


def test_ssd300_is_the_published_one() -> None:
    try:
        importlib.import_module("torchvision.models.detection")
    except Exception as error:  # installed and broken, as beside another build of torch
        pytest.skip(f"torchvision cannot be imported: {error}")
    network = libraries.SSD300(90)  # COCO's ids with the background
    assert sum(parameter.numel() for parameter in network.parameters()) == 35_641_826  # as torchvision states it
    network = libraries.SSD300(2).eval()
    outputs = network(torch.zeros(1, 1, 40, 60))
    assert outputs.shape == (1, 8732, 11)
    assert outputs[0, 0, -4:].tolist() == pytest.approx([0.5 / 38, 0.5 / 38, 0.07, 0.07], abs=1e-3)
    assert len(swap_(network, "asau").sites) == 23
