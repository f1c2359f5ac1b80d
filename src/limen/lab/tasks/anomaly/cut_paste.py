"""Artificial defects: a piece of an image pasted elsewhere into it.

After CutPaste, Li et al. 2021, arXiv 2104.04015.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST, LARGEST = 0.02, 0.35
"""Sides of a piece, as fractions of the image's."""
VISIBLE = 0.1
"""A pixel that changed by less, of a range of 2, is not marked: background over background is no defect."""
JITTER = 0.3
"""How much lighter or darker a piece may become."""


def cut_and_paste(images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Images with a piece pasted into each, and where it changed them, (N, H, W) of 0 and 1.

    Half of the pieces are long and thin. The generator is of the CPU; None draws from torch's own.
    """
    count, _, height, width = images.shape
    draw = torch.rand(8, count, generator=generator).to(images.device)
    sides = SMALLEST * (LARGEST / SMALLEST) ** draw[:2]
    rows, row_from = _placed(height, sides[0], draw[2])
    columns, column_from = _placed(width, sides[1], draw[3])
    inside = rows[:, :, None] & columns[:, None, :]
    row_from = (row_from + (draw[4, :, None] * height).long()) % height
    column_from = (column_from + (draw[5, :, None] * width).long()) % width
    each = torch.arange(count, device=images.device)[:, None, None]
    moved = images.movedim(1, -1)[each, row_from[:, :, None], column_from[:, None, :]].movedim(-1, 1)
    moved = torch.where(draw[6, :, None, None, None] < 0.5, moved.flip(3), moved)
    moved = (moved + JITTER * (2 * draw[7, :, None, None, None] - 1)).clamp(-1, 1)
    changed = torch.where(inside[:, None], moved, images)
    marks = inside & ((changed - images).abs().amax(1) > VISIBLE)
    return changed, marks.to(images.dtype)


def _placed(length: int, side: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Which of ``length`` pixels the pieces cover along one axis, (N, length), and the pixels' own indices."""
    size = (side * length).round().clamp(min=1)
    start = (place * (length - size + 1)).floor()
    index = torch.arange(length, device=side.device)[None]
    covered = (index >= start[:, None]) & (index < (start + size)[:, None])
    return covered, index.expand(len(side), -1)
