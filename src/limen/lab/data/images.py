"""Images in memory: what every split and set of images has, and those with a class each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.base import Data, Samples


def scaled(pixels: Tensor) -> Tensor:
    """Pixels of 0 to 255 to mean 0.5, deviation 0.5 (−1 to 1), as in the AdAct paper."""
    return pixels.float().sub_(127.5).div_(127.5)


def shape_of_images(images: Tensor) -> tuple[int, int, int]:
    """Channels, height and width of (N, C, H, W)."""
    _, channels, height, width = images.shape
    return channels, height, width


@dataclass(frozen=True, eq=False)
class ImageSamples(Samples):
    """Images as uint8 of shape (N, C, H, W); a subclass says what is to be told of them."""

    images: Tensor

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels from −1 to 1, and the targets."""
        return scaled(inputs), targets


P = TypeVar("P", bound=ImageSamples)


@dataclass(frozen=True, eq=False)
class ImageSet(Data[P]):
    """A set of images of one shape."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, the same for every image."""
        return shape_of_images(self.train.images)


@dataclass(frozen=True, eq=False)
class Split(ImageSamples):
    """Images as uint8 of shape (N, C, H, W) and their labels as int64 of shape (N,).

    >>> split = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> len(split)
    2
    """

    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            found = f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            raise DataError(f"Images must be torch.uint8 of shape (N, C, H, W), not {found}.")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            found = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise DataError(f"Labels must be torch.int64 of shape ({len(self.images)},), not {found}.")

    def relabelled(self, places: Tensor, classes: int) -> Split:
        """Each label by its place."""
        return replace(self, labels=places[self.labels])

    def per_class(self, classes: int) -> tuple[int, ...]:
        """Examples of each class."""
        return tuple(torch.bincount(self.labels, minlength=classes).tolist())


@dataclass(frozen=True, eq=False)
class ImageData(ImageSet[Split]):
    """Images with a class each.

    >>> split = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> ImageData("tiny", ("cat", "dog"), split, None, None).image_shape
    (1, 8, 8)
    """
