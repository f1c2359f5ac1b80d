"""The objects of four images that a mosaic shows together."""

from __future__ import annotations

import torch
from torch import Tensor

from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.detection.masks import packed, unpacked
from limen.lab.training.mosaic import QUARTERS, corners, quarter

LEAST = 0.1
"""The part of an object's box that must be seen for it to be learned; one of which less is seen does not count."""
ROUNDING = 1e-4
"""Of an image's side: what reaches into the window by less does so by rounding."""


def laid_together(objects: Tensor, drawn: Tensor, size: tuple[int, int]) -> Tensor:
    """The rows (n, k, ·) of what the windows show, from those of four images of a size (n, 4, most, ·)."""
    begun = corners(drawn, *size).to(objects.dtype) / objects.new_tensor(size)
    parts = [_moved(objects[:, place], place, begun, drawn, size) for place in range(len(QUARTERS))]
    rows = torch.cat(parts, 1)
    there = rows[..., 0] != NOTHING
    most = max(1, int(there.sum(1).max()))
    order = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    return rows.gather(1, order[..., None].expand(-1, -1, rows.shape[-1]))


def _moved(rows: Tensor, place: int, begun: Tensor, drawn: Tensor, size: tuple[int, int]) -> Tensor:
    """The rows of one of the four images, in fractions of the window."""
    down, across = QUARTERS[place]
    kind, boxes = rows[..., 0], rows[..., 1:5]
    shift = torch.stack([across - begun[:, 1], down - begun[:, 0]] * 2, -1)[:, None]
    seen = (boxes + shift).clamp(0, 1)
    part = _area(seen) / _area(boxes).clamp(min=torch.finfo(boxes.dtype).tiny)
    there = (kind != NOTHING) & (seen[..., 2:] - seen[..., :2] > ROUNDING).all(-1)
    masks = []
    if rows.shape[-1] > 5:
        shown = quarter(unpacked(rows[..., 5:], size), place, drawn)
        there &= shown.flatten(-2).any(-1)
        masks = [packed(shown)]
    learned = torch.where((part < LEAST) & (kind > NOTHING), ignored(kind), kind)
    found = torch.cat([learned[..., None], seen, *masks], -1)
    nothing = torch.zeros_like(found)
    nothing[..., 0] = NOTHING
    return torch.where(there[..., None], found, nothing)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
