"""Masks of objects: COCO's three forms read, packed into rows of numbers and unpacked, overlaps.

A segmentation is a list of polygons, a run-length encoding whose counts are a list of numbers, or one whose counts are
COCO's compressed string. Runs go down the columns, from left to right, and begin with what is not the object
(cocodataset.org/#format-data).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.errors import DataError

Mask = NDArray[np.bool_]
"""(height, width)."""
FINER = 5
"""A polygon's edges are walked in steps of a pixel's fifth, so that masks are those of COCO's own tools."""
BITS = 24
"""Pixels in one number: float32 holds whole numbers of so many bits."""
FURTHEST = 2
"""Times the image's longer side a point may lie from its corner."""
_FORMS = (
    "give a list of polygons, each of at least three points as [x1, y1, x2, y2, x3, y3, …], or "
    '{"size": [height, width], "counts": …}'
)


def read_mask(segmentation: Any, size: tuple[int, int], where: str) -> Mask:
    """The mask of one object in an image of this height and width.

    Raises:
        DataError: which object it is, what is wrong with it, what is possible.
    """
    if isinstance(segmentation, dict):
        return _of_runs(segmentation, size, where)
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError(f"{where} has the segmentation {_short(segmentation)}; {_FORMS}.")
    mask = np.zeros(size, dtype=bool)
    for polygon in segmentation:
        mask |= _inside(_points(polygon, size, where), size)
    return mask


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _points(polygon: Any, size: tuple[int, int], where: str) -> NDArray[np.float64]:
    if not isinstance(polygon, list) or not all(type(value) in (int, float) for value in polygon):
        raise DataError(f"{where} has the polygon {_short(polygon)}, which is no list of numbers; {_FORMS}.")
    if len(polygon) < 6 or len(polygon) % 2:
        raise DataError(
            f"{where} has a polygon of {len(polygon)} numbers, x and y of {len(polygon) / 2:g} points; {_FORMS}."
        )
    far = [value for value in polygon if not abs(value) <= FURTHEST * max(size)]
    if far:
        raise DataError(f"{where} has a polygon with a point at {_short(far[0])}; points are pixels of the image.")
    return np.array(polygon, dtype=np.float64).reshape(-1, 2)


def _inside(points: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """What a polygon encloses: where its edge crosses a column of pixel centres, inside and outside change."""
    height, width = size
    corners = (FINER * points + 0.5).astype(np.int64)
    walked = [_walked(*ends) for ends in itertools.pairwise(np.concatenate([corners, corners[:1]]))]
    x, y = np.concatenate(walked, axis=1)
    crossing = (x[1:] != x[:-1]).nonzero()[0] + 1
    column = np.where(x[crossing] < x[crossing - 1], x[crossing], x[crossing] - 1)
    place = (column + 0.5) / FINER - 0.5
    inside = (place == np.floor(place)) & (place >= 0) & (place <= width - 1)
    row = np.minimum(y[crossing], y[crossing - 1])
    row = np.ceil(((row + 0.5) / FINER - 0.5).clip(0, height))
    changes = (place * height + row)[inside].astype(np.int64)
    changed = np.bincount(changes, minlength=height * width + 1)[: height * width]
    inside_of: Mask = changed.cumsum() % 2 == 1
    return inside_of.reshape(width, height).T


def _walked(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places on an edge, one a step along its longer side; computed from its lower end, whichever it starts at."""
    steps = np.abs(end - start)
    along = 0 if steps[0] >= steps[1] else 1
    turned = start[along] > end[along]
    low, high = (end, start) if turned else (start, end)
    count = int(steps[along])
    step = np.arange(count + 1)[:: -1 if turned else 1]
    slope = (high[1 - along] - low[1 - along]) / count if count else 0.0
    found = np.empty((2, count + 1), dtype=np.int64)
    found[along] = step + low[along]
    found[1 - along] = (low[1 - along] + slope * step + 0.5).astype(np.int64)
    return found


def _of_runs(segmentation: dict[str, Any], size: tuple[int, int], where: str) -> Mask:
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if stated != list(size):
        raise DataError(
            f"{where} has a mask of size {_short(stated)} (height, width), and its image is {size[0]}×{size[1]}; "
            "correct the size, or the image's height and width."
        )
    if isinstance(counts, str):
        runs = _decompressed(counts, where)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        runs = counts
    else:
        raise DataError(f"{where} has the counts {_short(counts)}; they are a list of whole numbers, or a string.")
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise DataError(
            f"{where} has runs of {sum(runs):,} pixels in all, and its mask has {size[0] * size[1]:,}"
            f"{', and a run below 0' if min(runs, default=0) < 0 else ''}; the counts are damaged."
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[1], size[0]).T


def _decompressed(text: str, where: str) -> list[int]:
    """Counts from COCO's string: five bits a character, from 48 on; from the fourth count on what it differs by."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError(f"{where} has counts with {character!r} where none can be; the string is damaged.")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise DataError(f"{where} has counts that end within a number; the string is damaged.")
    return counts


def numbers_of(size: tuple[int, int]) -> int:
    """So many numbers a mask of this size is packed into.

    >>> numbers_of((5, 5))
    2
    """
    return math.ceil(size[0] * size[1] / BITS)


def packed(masks: Tensor) -> Tensor:
    """Masks (…, H, W) as rows of float32, :data:`BITS` pixels a number.

    >>> packed(torch.tensor([[True, False], [True, True]]))
    tensor([13.])
    """
    flat = masks.flatten(-2)
    padded = torch.nn.functional.pad(flat.float(), (0, -flat.shape[-1] % BITS))
    return padded.view(*flat.shape[:-1], padded.shape[-1] // BITS, BITS) @ (
        2.0 ** torch.arange(BITS, device=masks.device)
    )


def unpacked(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """The masks (…, H, W) that rows are of.

    >>> unpacked(torch.tensor([13.0]), (2, 2))
    tensor([[ True, False],
            [ True,  True]])
    """
    bits = (rows.long()[..., None] >> torch.arange(BITS, device=rows.device)) & 1
    return bits.flatten(-2)[..., : size[0] * size[1]].bool().view(*rows.shape[:-1], *size)


def shared(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Of every mask (M, H, W) with every other (K, H, W): intersection over union, and the part within: (M, K)."""
    flat, others = one.flatten(1).float(), other.flatten(1).float()
    inside = flat @ others.T
    areas = flat.sum(1)[:, None]
    return inside / (areas + others.sum(1) - inside).clamp(min=1), inside / areas.clamp(min=1)
