"""Two organs in scans: a Dice for each, and how far their surfaces lie from the true ones in millimetres."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.tasks.segmentation.mask_images import Place
from limen.lab.tasks.segmentation.masks import IGNORED, MaskSplit, load_masks
from limen.lab.training import confusion

pytest.importorskip("monai.metrics")
surfaces = pytest.importorskip("limen.lab.tasks.segmentation.surfaces")
CLASSES = ("background", "head", "tail")
SPACING = (3.0, 1.0, 1.5)
SIDES = (6, 16, 16)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


class Answers(nn.Module):
    """Predicts these masks, in this order."""

    def __init__(self, masks: Tensor) -> None:
        super().__init__()
        self.masks, self.done = masks, 0

    def forward(self, inputs: Tensor) -> Tensor:
        mine = self.masks[self.done : self.done + len(inputs)]
        self.done += len(inputs)
        return F.one_hot(mine, len(CLASSES)).movedim(-1, 1).float()


def organs(*boxes: tuple[int, slice, slice, slice]) -> Tensor:
    mask = torch.zeros(SIDES, dtype=torch.int64)
    for label, *where in boxes:
        mask[tuple(where)] = label
    return mask


def split_of(*scans: Tensor, slices: int = SIDES[0]) -> MaskSplit:
    masks = torch.cat(scans).to(torch.uint8)
    groups = tuple(number for number, scan in enumerate(scans) for _ in scan)
    places = tuple(Place(index, slices, SPACING) for scan in scans for index in range(len(scan)))
    return MaskSplit(torch.zeros(len(masks), 1, *SIDES[1:]), masks, ("",) * len(masks), groups, places)


def measured(answer: Tensor, split: MaskSplit) -> dict[str, float]:
    return surfaces.distances(Answers(answer), split, CLASSES, 4, "cpu")


HEAD = (1, slice(1, 3), slice(2, 8), slice(2, 8))
TAIL = (2, slice(2, 5), slice(9, 14), slice(4, 12))


def test_distances_are_in_millimetres_along_every_axis() -> None:
    truth = organs(HEAD, TAIL)
    same = measured(truth, split_of(truth))
    assert same == {f"{name}{of}": 0 for name in ("hausdorff95", "surface_distance")
                    for of in ("", "_of_head", "_of_tail")}  # fmt: skip
    for axis, side in enumerate(SPACING):
        found = measured(organs(HEAD, TAIL).roll(1, axis), split_of(truth))
        assert found["hausdorff95_of_head"] == pytest.approx(side)
        assert 0 < found["surface_distance_of_head"] < side
        assert found["hausdorff95"] == pytest.approx((found["hausdorff95_of_head"] + found["hausdorff95_of_tail"]) / 2)


def test_a_class_that_one_of_both_lacks_is_the_diagonal_away_and_one_that_both_lack_is_left_out() -> None:
    diagonal = math.dist((0, 0, 0), [count * side for count, side in zip(SIDES, SPACING, strict=True)])
    alone = organs(HEAD)
    for truth, answer in ((organs(HEAD, TAIL), alone), (alone, organs(HEAD, TAIL))):
        found = measured(answer, split_of(truth))
        assert found["hausdorff95_of_tail"] == found["surface_distance_of_tail"] == pytest.approx(diagonal)
        assert found["hausdorff95_of_head"] == 0
        assert found["hausdorff95"] == pytest.approx(diagonal / 2)
    found = measured(alone, split_of(alone))
    assert math.isnan(found["hausdorff95_of_tail"])
    assert found["hausdorff95"] == 0
    both = measured(torch.cat([alone, organs(HEAD, TAIL)]), split_of(alone, organs(HEAD, TAIL)))
    assert both["hausdorff95_of_tail"] == 0


def test_voxels_that_do_not_count_have_no_surface() -> None:
    truth = organs(HEAD, TAIL)
    truth[:, 14:] = IGNORED
    answer = organs(HEAD, TAIL)
    answer[:, 15:] = 2
    assert measured(answer, split_of(truth))["hausdorff95"] == 0


def test_a_scan_that_a_limit_thinned_out_is_left_out_and_slices_are_put_in_order() -> None:
    truth = organs(HEAD, TAIL)
    assert measured(truth[1:], split_of(truth).take(torch.arange(1, 6))) == {}
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = truth.roll(1, 0)
    assert measured(moved[order], split_of(truth).take(order)) == measured(moved, split_of(truth))


def test_a_class_has_the_dice_of_its_pixels() -> None:
    truth, answer = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 0, 2])
    score = confusion.ConfusionScore(4, confusion.f1, confusion.f1_of_each)
    score.update(answer, truth)
    assert score.of_each() == pytest.approx([0.5, 2 / 3, 1.0, math.nan], nan_ok=True)
    assert float(score.compute()) == pytest.approx(np.nanmean(score.of_each()))
    assert confusion.ConfusionScore(4, confusion.f1).of_each() == []


def decathlon(root: Path, affine: np.ndarray, count: int = 5) -> Path:
    """Scans of 10×12×4 voxels with the hippocampus' two parts."""
    nibabel = pytest.importorskip("nibabel")
    for number in range(count):
        random = np.random.default_rng(number)
        labels = np.zeros((10, 12, 4), dtype=np.uint8)
        labels[1:5, 2:8, 1:3], labels[5:9, 5:10, 1:4] = 1, 2
        values = (random.random(labels.shape) * 20 + 90 * labels).astype(np.int16)
        for name, voxels in (("imagesTr", values), ("labelsTr", labels)):
            (root / name).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, affine), root / name / f"hippocampus_{number}.nii.gz")
    facts = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
    (root / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return root


def test_a_voxel_has_the_size_that_the_header_says_however_the_scan_lies(tmp_path: Path) -> None:
    read = {"image_size": None, "grey": False, "ignore_label": None}
    upright = load_masks(str(decathlon(tmp_path / "a", np.diag([2.0, 3.0, 5.0, 1.0]), 3)), **read).train
    assert upright.places[:5] == (
        *(Place(index, 4, (5.0, 3.0, 2.0)) for index in range(4)),
        Place(0, 4, (5.0, 3.0, 2.0)),
    )
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0, -5], [2, 0, 0], [0, 3, 0]]  # voxels run to the front, upwards, to the left
    lying = load_masks(str(decathlon(tmp_path / "b", turned, 3)), **read).train
    assert lying.places[0] == Place(0, 12, (3.0, 2.0, 5.0))
    resized = load_masks(str(tmp_path / "a"), **{**read, "image_size": (6, 5)}).train
    assert resized.places[1] == Place(1, 4, (5.0, 6.0, 4.0))


@pytest.mark.thorough
def test_a_study_of_two_organs_from_files_to_report(run: Command, tmp_path: Path) -> None:
    data = decathlon(tmp_path / "Task04", np.diag([1.0, 1.0, 2.0, 1.0]))
    outcome = run("compare", "--task", "segmentation", "--data", data, "--image-size", "16", "--activations", "relu",
                  "--seeds", "2", "--epochs", "1", "--batch-size", "4", "--json",
                  "--out", tmp_path / "out")  # fmt: skip
    assert outcome.code == 0, outcome.err
    for row in outcome.json["runs"]:
        each = [row[f"test_dice_of_{name}"] for name in ("background", "Anterior", "Posterior")]
        assert row["test_dice"] == pytest.approx(np.nanmean(each))
        distances = [row[f"test_hausdorff95_of_{name}"] for name in ("Anterior", "Posterior")]
        assert row["test_hausdorff95"] == pytest.approx(np.nanmean(distances))
        assert row["test_surface_distance"] >= 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for said in ("Test Hausdorff 95 (mm)", "Test Dice (%) of every class", "Test surface distance (mm) of every class"):
        assert said in page
