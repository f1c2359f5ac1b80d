"""What a data set is in memory: images and labels as tensors, in up to three splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from limen.errors import DataError
from limen.lab.records import DataFacts

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` while images are read."""


class Samples(Protocol):
    """Inputs and targets of one split, as any task stores them."""

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets as they are kept, the examples along the first axis."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Samples:
        """Return a copy with only the examples at ``indices``, in that order."""

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Some of the tensors as the network and the loss take them."""


class TaskData(Protocol):
    """A divided data set of any task; each is a dataclass."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def train(self) -> Samples: ...  # noqa: D102
    @property
    def validation(self) -> Samples | None: ...  # noqa: D102
    @property
    def test(self) -> Samples | None: ...  # noqa: D102
    def facts(self) -> DataFacts:
        """Describe the data for a study's records."""


def split_facts(data: TaskData) -> dict[str, Any]:
    """What is recorded of the splits of any data: the name, how many examples each has, what they are."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    counts = {name: 0 if split is None else len(split) for name, split in splits.items()}
    return {"name": data.name, **counts, "fingerprint": fingerprint(splits)}


def shape_of_images(images: Tensor) -> tuple[int, int, int]:
    """Channels, height and width of (N, C, H, W)."""
    _, channels, height, width = images.shape
    return channels, height, width


@dataclass(frozen=True, eq=False)
class Split:
    """Images as uint8 of shape (N, C, H, W) and their labels as int64 of shape (N,).

    >>> split = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> len(split)
    2
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            found = f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            raise DataError(f"Images must be torch.uint8 of shape (N, C, H, W), not {found}.")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            found = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise DataError(f"Labels must be torch.int64 of shape ({len(self.images)},), not {found}.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Images and labels."""
        return self.images, self.labels

    def take(self, indices: Tensor) -> Split:
        """Return a copy with only the images at ``indices``, in that order."""
        return Split(self.images[indices], self.labels[indices])

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels scaled to mean 0.5, deviation 0.5 (−1 to 1), as in the AdAct paper."""
        return inputs.float().sub_(127.5).div_(127.5), targets


@dataclass(frozen=True, eq=False)
class ImageData:
    """A named data set. A split that the source does not have is None; :func:`divide` makes it.

    >>> split = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> ImageData("tiny", ("cat", "dog"), split, None, None).image_shape
    (1, 8, 8)
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split | None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, the same for every image."""
        return shape_of_images(self.train.images)

    def facts(self) -> DataFacts:
        """Describe the data for a study's records. A missing split counts as 0 images."""
        return DataFacts(
            **split_facts(self),
            classes=self.classes,
            image_shape=self.image_shape,
        )


S = TypeVar("S", bound=Samples)


def evenly(split: S, count: int) -> S:
    """Some examples of every kind: evenly spaced, because a split may be ordered by class."""
    return cast("S", split.take(torch.linspace(0, len(split) - 1, min(count, len(split))).long()))


def fingerprint(parts: Mapping[str, Samples | None]) -> str:
    """SHA-256 over the tensors of every split."""
    digest = hashlib.sha256()
    for part, split in parts.items():
        # The shape is hashed too, so that the same bytes divided otherwise give another fingerprint.
        digest.update(f"{part}:{None if split is None else tuple(split.tensors[0].shape)};".encode())
        if split is not None:
            for tensor in split.tensors:
                values = tensor.contiguous().numpy().reshape(-1)
                digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()
