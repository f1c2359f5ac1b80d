"""What the networks are built of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

ImageShape = tuple[int, int, int]
"""Channels, height, width."""
SMALL = 64
"""Below so many pixels on the shorter side, networks made for ImageNet keep the image's size in their stem."""


def is_small(image_shape: ImageShape) -> bool:
    """Whether a stem that divides the size by four would leave too little.

    >>> is_small((3, 32, 32)), is_small((3, 64, 80))
    (True, False)
    """
    return min(image_shape[1:]) < SMALL


def convolution(channels: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size (but for the stride), without bias, started after He et al. 2015."""
    made = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    if groups == 1:
        nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    else:  # torch counts the fan out over all groups, which starts a depthwise convolution far too small
        nn.init.kaiming_normal_(made.weight, mode="fan_in", nonlinearity="relu")
    return made


def normalised(made: nn.Conv2d) -> nn.Sequential:
    """The convolution, batch normalisation, ReLU."""
    return nn.Sequential(made, nn.BatchNorm2d(made.out_channels), nn.ReLU())


def scaled(width: int, factor: float) -> int:
    """A width times a factor, at least 1.

    >>> scaled(32, 0.25), scaled(16, 0.01)
    (8, 1)
    """
    return max(1, round(width * factor))


def filled_up(images: Tensor, multiple: int) -> Tensor:
    """Images with their last row and column repeated, until both sides are a multiple of this.

    >>> import torch
    >>> filled_up(torch.zeros(1, 3, 9, 16), 8).shape
    torch.Size([1, 3, 16, 16])
    """
    down, across = (-side % multiple for side in images.shape[2:])
    return F.pad(images, (0, across, 0, down), mode="replicate") if down or across else images
