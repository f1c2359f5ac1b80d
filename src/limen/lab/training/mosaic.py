"""Four training images made one: laid two by two, of which a window as large as one of them is seen.

After Bochkovskiy et al. 2020 (YOLOv4, 2004.10934). Nothing is resized, so that boxes and masks move by whole pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limen.lab.training.augmentation import ACROSS, DOWN, FIRST_KIND, FIRST_STRENGTH, SECOND_KIND, whole

NAME = "mosaic"
OTHERS = (FIRST_KIND, FIRST_STRENGTH, SECOND_KIND)
"""The drawn numbers that say which images stand beside the example."""
QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""How many images down and across each of the four lies; the example itself lies first."""


def fours(chosen: Tensor, drawn: Tensor, count: int) -> Tensor:
    """The places of examples (n), each with three others of so many beside it: (n, 4)."""
    return torch.cat([chosen[:, None], whole(drawn[:, OTHERS], count)], 1)


def corners(drawn: Tensor, height: int, width: int) -> Tensor:
    """Where each window begins, in pixels down and across (n, 2); the images meet in its middle half."""
    return torch.stack([_begun(drawn[:, DOWN], height), _begun(drawn[:, ACROSS], width)], 1)


def _begun(drawn: Tensor, side: int) -> Tensor:
    nearest = side // 4
    return nearest + whole(drawn, side - 2 * nearest + 1)


def mosaic(images: Tensor, drawn: Tensor) -> Tensor:
    """The windows of fours of images (n, 4, C, H, W): (n, C, H, W)."""
    rows = [torch.cat([images[:, place], images[:, place + 1]], -1) for place in (0, 2)]
    return _seen(torch.cat(rows, -2), corners(drawn, *images.shape[-2:]))


def quarter(masks: Tensor, place: int, drawn: Tensor) -> Tensor:
    """What the windows show of masks (n, k, H, W) of one of the four images."""
    height, width = masks.shape[-2:]
    down, across = QUARTERS[place]
    canvas = masks.new_zeros(*masks.shape[:2], 2 * height, 2 * width)
    canvas[..., down * height : (down + 1) * height, across * width : (across + 1) * width] = masks
    return _seen(canvas, corners(drawn, height, width))


def _seen(canvas: Tensor, begun: Tensor) -> Tensor:
    """Of each canvas (n, C, 2H, 2W) the window that begins at a corner (n, 2)."""
    sides = [size // 2 for size in canvas.shape[-2:]]
    rows, columns = (begun[:, axis, None] + torch.arange(side, device=begun.device) for axis, side in enumerate(sides))
    taken = canvas.gather(2, rows[:, None, :, None].expand(-1, canvas.shape[1], -1, canvas.shape[3]))
    return taken.gather(3, columns[:, None, None, :].expand(-1, canvas.shape[1], sides[0], -1))
