"""nms and roi_align in torch's operators, for a torchvision whose C++ operators do not fit the torch beside it.

torchvision's default build is one for CUDA; beside a CPU build of torch its C++ library does not load, and then neither
torchvision nor timm can be imported. :func:`provide` gives torchvision these two, which are all that its detectors
need. They compute what the C++ ones do, on any device, and differentiate.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 2048
"""Boxes of which all pairs are compared at a time."""
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
"""What torchvision's import asks for; the quantised one stays without a kernel."""
_LIBRARY: Any = torch.library
_provided: list[Any] = []
"""Kernels are gone with the object that registered them."""


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The places of the boxes (corners) that no better box overlaps by more than a threshold, the best first.

    >>> nms(torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [8, 8, 9, 9]]), torch.tensor([0.1, 0.9, 0.5]), 0.5)
    tensor([1, 2])
    """
    order = scores.argsort(descending=True, stable=True)
    kept = order.new_zeros(0)
    for first in range(0, len(order), AT_ONCE):
        some = order[first : first + AT_ONCE]
        free = some[~(_overlap(boxes[kept], boxes[some]) > threshold).any(0)]
        kept = torch.cat([kept, free[_unsuppressed(_overlap(boxes[free], boxes[free]) > threshold)]])
    return kept


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of every box with every other; NaN of two without area."""
    corner = torch.maximum(one[:, None, :2], other[:, :2])
    inside = (torch.minimum(one[:, None, 2:], other[:, 2:]) - corner).clamp_(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one, other)]
    return inside / (areas[0][:, None] + areas[1] - inside)


def _unsuppressed(overlaps: Tensor) -> Tensor:
    """Which of the boxes, the best first, stay: those that overlap no earlier one that stays."""
    suppresses = overlaps.triu(1)
    kept = torch.ones(len(overlaps), dtype=torch.bool, device=overlaps.device)
    while True:  # each time at least one more box is settled, and mostly all in a few
        decided = ~(suppresses & kept[:, None]).any(0)
        if torch.equal(decided, kept):
            return kept
        kept = decided


def roi_align(
    images: Tensor, regions: Tensor, scale: float, height: int, width: int, ratio: int = -1, aligned: bool = False
) -> Tensor:
    """The mean of bilinear samples in each of height × width parts of each region. He et al. 2017, 1703.06870, §3.

    Args:
        images: (N, C, H, W).
        regions: (K, 5) of the image's number and corners, which nothing is learned of.
        scale: of corners to places in ``images``.
        ratio: samples along each side of a part; 0 or less: as many as the part has pixels.
        aligned: whether corners count from the middle of the first pixel.

    Returns:
        (K, C, height, width).
    """
    kind = torch.promote_types(images.dtype, torch.float32)
    channels, tall, wide = images.shape[1:]
    pixels = images.to(kind).permute(0, 2, 3, 1).reshape(-1, channels)
    regions = regions.detach().to(kind)
    first = regions[:, 0].long() * (tall * wide)
    corners = regions[:, 1:] * scale - (0.5 if aligned else 0.0)
    sizes = corners[:, 2:] - corners[:, :2]
    sizes = sizes if aligned else sizes.clamp(min=1)
    parts = sizes / sizes.new_tensor([width, height])
    counts = (torch.full_like(parts, ratio) if ratio > 0 else parts.ceil().clamp(min=0)).long()
    found = pixels.new_zeros(len(regions), height, width, channels)
    kinds = [(ratio, ratio)] if ratio > 0 else sorted(set(map(tuple, counts.tolist())))
    for across, down in kinds:
        if across * down:
            mine = (counts == counts.new_tensor([across, down])).all(1).nonzero()[:, 0]
            rows = _corners(corners[mine, 1], parts[mine, 1], height, down, tall)
            columns = _corners(corners[mine, 0], parts[mine, 0], width, across, wide)
            means = _means(pixels, first[mine], rows, columns, wide)
            found = means if len(mine) == len(regions) else found.index_put((mine,), means)
    return found.permute(0, 3, 1, 2).to(images.dtype, memory_format=torch.contiguous_format)


def _corners(start: Tensor, part: Tensor, parts: int, samples: int, size: int) -> tuple[Tensor, Tensor]:
    """Along one side of each region (K): between which pixels samples lie, (K, parts, 2 · samples), with weights.

    A part's samples weigh 1 together. One more than a pixel outside weighs nothing, others there count at the edge.
    """
    steps = (torch.arange(parts * samples, device=start.device, dtype=start.dtype) + 0.5) / samples
    places = (start[:, None] + part[:, None] * steps).view(len(start), parts, samples)
    inside = ((places >= -1) & (places <= size)) / samples
    places = places.clamp(0, size - 1)
    before = places.floor()
    beyond = places - before
    pixels = torch.cat([before, (before + 1).clamp(max=size - 1)], -1).long()
    return pixels, torch.cat([(1 - beyond) * inside, beyond * inside], -1)


def _means(
    pixels: Tensor, first: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], wide: int
) -> Tensor:
    """Of pixels (P, C) what lies in each part of each region (K) that begins with one of them: (K, rows, columns, C).

    Interpolation is linear along each side: a sample's weights are products, and a part is one weighted sum of pixels.
    """
    places = (first[:, None, None] + rows[0] * wide)[:, :, None, :, None] + columns[0][:, None, :, None, :]
    weights = rows[1][:, :, None, :, None] * columns[1][:, None, :, None, :]
    summed = F.embedding_bag(
        places.flatten(0, 2).flatten(1), pixels, mode="sum", per_sample_weights=weights.flatten(0, 2).flatten(1)
    )
    return summed.view(*places.shape[:3], pixels.shape[1])


def provide() -> None:
    """Let torchvision be imported where its own operators cannot be loaded; else do nothing."""
    if _provided or "torchvision" in sys.modules:
        return
    found = importlib.util.find_spec("torchvision")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    if not folders or any(_loads(path) for folder in folders for path in sorted(Path(folder).glob("_C*.*"))):
        return
    library = _LIBRARY.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    library.impl("nms", nms, "CompositeExplicitAutograd")
    library.impl("roi_align", roi_align, "CompositeImplicitAutograd")
    _provided.append(library)
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, AttributeError, RuntimeError):
        return  # what else is wrong with it is said by whoever imports it
    _ask_no_more(sys.modules["torchvision.ops.boxes"], sys.modules["torchvision.ops.roi_align"])


def _loads(path: Path) -> bool:
    try:
        operators: Any = torch.ops
        operators.load_library(str(path))
    except OSError:
        return False
    return True


def _ask_no_more(*modules: ModuleType) -> None:
    """Let these parts of torchvision call their operators without asking whether all of C++ is there."""
    for module in modules:
        vars(module).update(_assert_has_ops=lambda: None, _has_ops=lambda: True)
