"""Training images changed at random, on tensors, by numbers that are drawn beforehand.

What happens to an image depends on its row of numbers alone, so that it is the same for every activation, for every
division of a batch and on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from limen.lab.data.base import Augment

FLIP, DOWN, ACROSS, FIRST_KIND, FIRST_STRENGTH, SECOND_KIND, SECOND_STRENGTH = range(7)
DRAWN = 7
"""Numbers for each image, used or not: what is added to an augmentation moves nothing that was there."""
MARGIN = 8
"""A crop is moved by up to the side divided by this, as by 4 pixels of 32."""
OTHER_STREAM = 1 << 62
"""Apart from the seeds that order batches."""
Change = Callable[[Tensor, Tensor], Tensor]
"""From images as float from 0 to 255 and strengths (n, 1, 1, 1) from −1 to 1."""


def draws(seed: int, epoch: int, examples: int) -> Tensor:
    """The numbers of every example of an epoch.

    >>> bool((draws(0, 1, 5) == draws(0, 1, 5)).all()), bool((draws(0, 1, 5) == draws(0, 2, 5)).any())
    (True, False)
    """
    generator = torch.Generator().manual_seed(OTHER_STREAM + seed * 1_000_003 + epoch)
    return torch.rand(examples, DRAWN, generator=generator)


def flipped(images: Tensor, drawn: Tensor) -> Tensor:
    """Half of them mirrored, left to right."""
    return torch.where(mirrored_ones(drawn)[:, None, None, None], images.flip(-1), images)


def mirrored_ones(drawn: Tensor) -> Tensor:
    """Which of them are."""
    return drawn[:, FLIP] < 0.5


def cropped_and_flipped(images: Tensor, drawn: Tensor) -> Tensor:
    """Moved by up to an eighth of each side, black where nothing was, and half of them mirrored."""
    height, width = images.shape[-2:]
    rows, columns = (_moved(side, drawn[:, place]) for side, place in ((height, DOWN), (width, ACROSS)))
    padded = F.pad(images, (*[_margin(width)] * 2, *[_margin(height)] * 2))
    taken = padded.gather(2, rows[:, None, :, None].expand(-1, images.shape[1], -1, padded.shape[3]))
    moved = taken.gather(3, columns[:, None, None, :].expand(*images.shape))
    return flipped(moved, drawn)


def _margin(side: int) -> int:
    return math.ceil(side / MARGIN)


def _moved(side: int, drawn: Tensor) -> Tensor:
    """For each image the places in a padded side that are kept."""
    return whole(drawn, 2 * _margin(side) + 1)[:, None] + torch.arange(side, device=drawn.device)


def whole(drawn: Tensor, count: int) -> Tensor:
    """From 0 to below ``count``, each as likely."""
    return (drawn * count).long().clamp_max(count - 1)


def randomly_changed(images: Tensor, drawn: Tensor) -> Tensor:
    """Cropped and flipped, then changed twice, each time by one of :data:`CHANGES` at a random strength."""
    found = cropped_and_flipped(images, drawn).float()
    for kind, strength in ((FIRST_KIND, FIRST_STRENGTH), (SECOND_KIND, SECOND_STRENGTH)):
        found = _changed(found, whole(drawn[:, kind], len(CHANGES)), 2 * drawn[:, strength] - 1)
    return found.to(torch.uint8)


def _changed(images: Tensor, kinds: Tensor, strengths: Tensor) -> Tensor:
    found = images.clone()
    for kind, change in enumerate(CHANGES):
        chosen = (kinds == kind).nonzero()[:, 0]
        if len(chosen):
            found[chosen] = change(images[chosen], strengths[chosen, None, None, None])
    return found.round_().clamp_(0, 255)


def _same(images: Tensor, strength: Tensor) -> Tensor:
    return images


def _brightness(images: Tensor, strength: Tensor) -> Tensor:
    return images * (1 + 0.9 * strength)


def _contrast(images: Tensor, strength: Tensor) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (1 + 0.9 * strength)


def _colour(images: Tensor, strength: Tensor) -> Tensor:
    grey = images.mean(1, keepdim=True)
    return grey + (images - grey) * (1 + 0.9 * strength)


def _sharpness(images: Tensor, strength: Tensor) -> Tensor:
    around = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    return images + 0.9 * strength * (images - around)


def _posterize(images: Tensor, strength: Tensor) -> Tensor:
    step = 2.0 ** (4 * strength.abs()).round()  # of eight bits four are left at least
    return (images / step).floor() * step


def _solarize(images: Tensor, strength: Tensor) -> Tensor:
    return torch.where(images > 255 * (1 - strength.abs()), 255 - images, images)


def _autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) * (255 / (high - low).clamp_min(1)), images)


def _rotate(images: Tensor, strength: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    angle = strength[:, 0, 0, 0] * math.radians(30)
    cos, sin = angle.cos(), angle.sin()
    # Places are counted from −1 to 1 along each side, whatever its pixels.
    return _affine(images, cos, -sin * (height / width), sin * (width / height), cos)


def _shear_across(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = _ends(strength)
    return _affine(images, one, 0.3 * strength[:, 0, 0, 0], zero, one)


def _shear_down(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = _ends(strength)
    return _affine(images, one, zero, 0.3 * strength[:, 0, 0, 0], one)


def _ends(strength: Tensor) -> tuple[Tensor, Tensor]:
    some = strength[:, 0, 0, 0]
    return torch.ones_like(some), torch.zeros_like(some)


def _affine(images: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    """Each image seen through a matrix of its own about its middle, black where nothing was."""
    zero = torch.zeros_like(xx)
    matrices = torch.stack([torch.stack([xx, xy, zero], 1), torch.stack([yx, yy, zero], 1)], 1)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


CHANGES: tuple[Change, ...] = (
    _same,
    _brightness,
    _contrast,
    _colour,
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
    _rotate,
    _shear_across,
    _shear_down,
)
"""What RandAugment chooses from, without histograms; what it moves, the crop has moved."""
BY_NAME: dict[str, Augment | None] = {
    "none": None,
    "flip": flipped,
    "crop+flip": cropped_and_flipped,
    "randaugment-like": randomly_changed,
}
"""What ``--augment`` names."""
