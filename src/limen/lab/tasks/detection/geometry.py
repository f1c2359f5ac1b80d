"""Boxes as tensors: overlap, the two forms, and suppression of those that another one covers."""

from __future__ import annotations

import torch
from torch import Tensor

CENTRE_STEP, SIZE_STEP = 0.1, 0.2
"""What an offset of 1 moves a default box by, in its own size, and stretches it by, as a logarithm."""
WIDEST = 6.0
"""The logarithm of no stretch goes further, so that an untrained network's boxes stay finite."""


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of every box of ``one`` (…, M, 4) with every box of ``other`` (…, K, 4): (…, M, K).

    Boxes are left, top, right, bottom, in any unit; two without area overlap by 0.

    >>> overlap(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2], [0, 0, 2, 2]]))
    tensor([[0.3333, 1.0000]])
    """
    inside = _intersection(one, other)
    union = (area(one)[..., :, None] + area(other)[..., None, :]).sub_(inside)
    return inside / union.clamp_(min=1e-12)


def covered(one: Tensor, other: Tensor) -> Tensor:
    """The part of every box of ``one`` that lies in each box of ``other``: (…, M, K)."""
    return _intersection(one, other) / area(one)[..., :, None].clamp(min=1e-12)


def _intersection(one: Tensor, other: Tensor) -> Tensor:
    # Each side on its own and contiguous: three times as fast as slices of the four together.
    left, top, right, bottom = (side.contiguous()[..., :, None] for side in one.unbind(-1))
    other_left, other_top, other_right, other_bottom = (side.contiguous()[..., None, :] for side in other.unbind(-1))
    across = torch.minimum(right, other_right).sub_(torch.maximum(left, other_left)).clamp_(min=0)
    return across.mul_(torch.minimum(bottom, other_bottom).sub_(torch.maximum(top, other_top)).clamp_(min=0))


def area(boxes: Tensor) -> Tensor:
    """Width times height of boxes given by their corners.

    >>> area(torch.tensor([1.0, 1, 3, 2]))
    tensor(2.)
    """
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def corners(boxes: Tensor) -> Tensor:
    """From centre, width and height to left, top, right, bottom.

    >>> corners(torch.tensor([2.0, 1, 2, 2]))
    tensor([1., 0., 3., 2.])
    """
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def offsets(boxes: Tensor, defaults: Tensor) -> Tensor:
    """What a network must give so that a default box (centre, width, height) becomes a box (corners).

    Liu et al. 2016, 1512.02325, eq. (2), with the variances 0.1 and 0.2 of the authors' code.
    """
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    moved = (centre - defaults[..., :2]) / defaults[..., 2:] / CENTRE_STEP
    return torch.cat([moved, (size / defaults[..., 2:]).log() / SIZE_STEP], -1)


def moved(given: Tensor, defaults: Tensor) -> Tensor:
    """The boxes (corners) that offsets make of default boxes (centre, width, height).

    >>> boxes, defaults = torch.tensor([[0.1, 0.2, 0.5, 0.4]]), torch.tensor([[0.3, 0.3, 0.2, 0.2]])
    >>> torch.allclose(moved(offsets(boxes, defaults), defaults), boxes)
    True
    """
    centre = defaults[..., :2] + CENTRE_STEP * given[..., :2] * defaults[..., 2:]
    size = defaults[..., 2:] * (SIZE_STEP * given[..., 2:]).clamp(max=WIDEST).exp()
    return corners(torch.cat([centre, size], -1))


def unsuppressed(boxes: Tensor, threshold: float) -> Tensor:
    """Which boxes (…, K, 4), the best first, greedy non-maximum suppression keeps: (…, K).

    A box falls to an earlier one that stays and overlaps it by more than ``threshold``. Deciding all boxes at once,
    again and again, settles at least one more of them each time, and mostly all in a few.

    >>> unsuppressed(torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [0, 0, 4, 1]]), 0.3)
    tensor([ True, False,  True])
    """
    suppresses = (overlap(boxes, boxes) > threshold).triu(1)
    kept = torch.ones(boxes.shape[:-1], dtype=torch.bool, device=boxes.device)
    while True:
        decided = ~(suppresses & kept[..., :, None]).any(-2)
        if torch.equal(decided, kept):
            return kept
        kept = decided
