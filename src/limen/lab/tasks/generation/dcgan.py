"""DCGAN: images from noise, and a network that tells them from real ones, learned against each other."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from limen.errors import SpecError

SMALLEST, LARGEST = 4, 7
"""Sides of the feature map that a generator starts from."""


class DCGAN(nn.Module):
    """Radford, Metz & Chintala 2016, arXiv 1511.06434, at a quarter of its width, for 28, 32, 64 pixels and others.

    The generator projects noise to a map of 4 to 7 pixels a side, and transposed convolutions (4×4, stride 2) double
    it until it has the image's size, with batch normalisation and an activation after each but the last, then tanh.
    The discriminator goes the same way down, without batch normalisation after its first layer, to one logit. Weights
    start from N(0, 0.02). In the paper the discriminator's activation is LeakyReLU(0.2) and the generator's ReLU; here
    both are ReLU as in every network of the lab, and both are swapped. Tanh stays: its range is the image's.
    """

    WIDTH = 32
    """Channels at half of the image's size (the paper: 128); twice as many at a quarter, and so on."""

    def __init__(self, image_shape: tuple[int, int, int], latent_features: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        doublings = doublings_for(height, width)
        start = (height >> doublings, width >> doublings)
        widths = [self.WIDTH << level for level in reversed(range(doublings))]
        self.generator = nn.Sequential(
            nn.Linear(latent_features, widths[0] * start[0] * start[1], bias=False),
            nn.Unflatten(1, (widths[0], *start)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            *(layer for pair in itertools.pairwise(widths) for layer in _up(*pair)),
            nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1),
            nn.Tanh(),
        )
        down = [channels, *reversed(widths)]
        self.discriminator = nn.Sequential(
            nn.Conv2d(channels, down[1], 4, 2, 1),
            nn.ReLU(),
            *(layer for pair in itertools.pairwise(down[1:]) for layer in _down(*pair)),
            nn.Flatten(),
            nn.Linear(down[-1] * start[0] * start[1], 1),
        )
        self.apply(_started)

    def forward(self, noise: Tensor) -> Tensor:
        """Images from −1 to 1, (N, C, H, W), of noise (N, latent_features)."""
        images: Tensor = self.generator(noise)
        return images


def doublings_for(height: int, width: int) -> int:
    """How often a map of 4 to 7 pixels must be doubled to reach the image's shorter side.

    >>> [doublings_for(size, size) for size in (28, 32, 48, 64)]
    [2, 3, 3, 4]
    """
    short, doublings = min(height, width), 0
    while short >> doublings > LARGEST:
        doublings += 1
    if doublings == 0 or short >> doublings < SMALLEST or height % (1 << doublings) or width % (1 << doublings):
        raise SpecError(
            f"images of {height}×{width} pixels are not 4 to 7 pixels doubled several times; give --image-size, such "
            "as 28, 32, 48 or 64"
        )
    return doublings


def _up(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()


def _down(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()


def _started(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)
