"""nms and roi_align against values of torchvision's C++ operators, and a torchvision that lacks them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from limen.lab.networks import region_operators
from limen.lab.networks.region_operators import nms, roi_align

BOXES = torch.tensor([
    [0.0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 5.5], [20, 20, 30, 30], [21, 20, 31, 30], [5, 5, 5, 9], [5, 5, 5, 9],
    [20, 20, 30, 30],
])  # fmt: skip
SCORES = torch.tensor([0.6, 0.9, 0.6, 0.3, 0.8, 0.5, 0.4, 0.3])
REGIONS = torch.tensor(
    [[0, 1.0, 1, 9, 7], [1, -3, 2, 6, 14], [0, 4, 4, 4.5, 4.2], [1, 11, 9, 30, 30]], dtype=torch.float64
)
CPP = {
    (2, False): (
        [-0.04241, -0.325069, 0.197519, 0.409241, 0.041157, -0.014216, -0.147773, 0.16832, -0.396809, -0.30081,
         0.483164, 0.547752, 0, 0, 0, 0],
        [0, 0.3125, 0.3125, 1.25, 1.5625, 1.5625, 0.49219, 0.24609, 0, 0.71094, 0.35547, 0],
    ),
    (2, True): (
        [0.365529, 0.116924, -0.364233, -0.11457, -0.101502, -0.178232, -0.082411, 0.084149, -0.335048, -0.348708,
         -0.398467, -0.409339, 0, 0, 0, 0],
        [19.91562, 0.40625, 0.20312, 25.79063, 1.78125, 0.89062, 1.58203, 0, 0, 2.28516, 0, 0],
    ),
    (-1, False): (
        [-0.04241, -0.325069, 0.197519, 0.409241, -0.009, 0.005021, -0.0581, 0.112398, -0.396809, -0.30081,
         0.483164, 0.547752, 0.03328, 0, 0, 0],
        [0, 0.3125, 0.3125, 1.25, 1.5625, 1.5625, 0.6875, 0.3125, 0, 0.99306, 0.45139, 0],
    ),
    (-1, True): (
        [0.365529, 0.116924, -0.364233, -0.11457, -0.046374, -0.060485, -0.146508, 0.110624, -0.335048, -0.348708,
         -0.398467, -0.409339, 0.03328, 0, 0, 0],
        [19.91562, 0.40625, 0.20312, 25.79062, 1.78125, 0.89062, 1.25, 0.125, 0, 1.80556, 0.18056, 0],
    ),
}  # fmt: skip
"""By samples and alignment: of torchvision 0.29.1 the first channel's values, and a part of the gradient."""


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [(0.0, [1, 4, 5, 6]), (0.3, [1, 4, 5, 6]), (0.6, [1, 4, 2, 5, 6]), (0.9, [1, 4, 0, 2, 5, 6, 3])],
)
def test_nms_keeps_what_torchvision_keeps(threshold: float, kept: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert nms(BOXES, SCORES, threshold).tolist() == kept
    monkeypatch.setattr(region_operators, "AT_ONCE", 2)
    assert nms(BOXES, SCORES, threshold).tolist() == kept
    assert nms(BOXES[:0], SCORES[:0], threshold).tolist() == []


@pytest.mark.parametrize(("ratio", "aligned"), CPP)
def test_regions_and_gradients_are_those_of_torchvision(ratio: int, aligned: bool) -> None:
    images = (torch.arange(2 * 2 * 5 * 6, dtype=torch.float64) * 0.37).sin().view(2, 2, 5, 6).requires_grad_()
    found = roi_align(images, REGIONS, 0.5, 2, 2, ratio, aligned)
    (gradient,) = torch.autograd.grad((found * torch.arange(found.numel()).view_as(found)).sum(), images)
    values, part = CPP[ratio, aligned]
    assert found[:, 0].flatten().tolist() == pytest.approx(values, abs=1e-6)
    assert gradient[:, :, 1, 2:5].flatten().tolist() == pytest.approx(part, abs=1e-5)


def test_half_types_and_no_region() -> None:
    images = torch.rand(1, 3, 8, 8)
    region = torch.tensor([[0.0, 1, 1, 6, 6]])
    exact = roi_align(images, region, 1.0, 2, 2)
    assert torch.allclose(roi_align(images.bfloat16(), region, 1.0, 2, 2).float(), exact, atol=0.01)
    assert roi_align(images, region[:0], 1.0, 2, 3).shape == (0, 3, 2, 3)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A torchvision as its default build is beside a CPU build of torch, in the places that matter."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(region_operators, "_provided", [])
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "torchvision"
    (package / "ops").mkdir(parents=True)
    (package / "_C_stable.so").write_bytes(b"for another torch")
    (package / "extension.py").write_text(
        "def _has_ops():\n    return False\n\n\ndef _assert_has_ops():\n    raise RuntimeError('no C++')\n"
    )
    (package / "__init__.py").write_text("from torchvision import ops\n")
    (package / "ops" / "__init__.py").write_text("from . import boxes, roi_align, others\n")
    for name, inside in (("boxes", "nms"), ("roi_align", "roi_align"), ("others", "nms")):
        (package / "ops" / f"{name}.py").write_text(
            "import torch\nfrom torchvision.extension import _assert_has_ops, _has_ops\n\n"
            "torch.ops.torchvision.nms\n\n\n"
            f"def call(*given):\n    _assert_has_ops()\n    return torch.ops.torchvision.{inside}(*given)\n"
        )
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def test_torchvision_without_its_operators_gets_these(library: Path) -> None:
    with pytest.raises(AttributeError, match="nms"):
        importlib.import_module("torchvision")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    region_operators.provide()
    found = importlib.import_module("torchvision.ops")
    assert found.boxes.call(BOXES, SCORES, 0.6).tolist() == [1, 4, 2, 5, 6]
    images = torch.rand(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    aligned = found.roi_align.call(images, REGIONS, 0.5, 2, 2, 2, False)
    assert torch.equal(aligned, roi_align(images, REGIONS, 0.5, 2, 2, 2))
    aligned.sum().backward()
    assert images.grad is not None
    with pytest.raises(RuntimeError, match="no C"):  # of what is not provided torchvision still says it
        found.others.call(BOXES, SCORES, 0.6)
    region_operators.provide()
    assert len(region_operators._provided) == 1


def test_a_torchvision_that_fails_otherwise_says_so_itself(library: Path) -> None:
    (library / "ops" / "boxes.py").write_text("raise OSError('another reason')\n")
    region_operators.provide()
    with pytest.raises(OSError, match="another reason"):
        importlib.import_module("torchvision")
