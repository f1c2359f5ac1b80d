"""What a data set is in memory: images and labels as tensors, in up to three splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limen.errors import DataError
from limen.lab.records import DataFacts

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` while images are read."""


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

    def take(self, indices: Tensor) -> Split:
        """Return a copy with only the images at ``indices``, in that order."""
        return Split(self.images[indices], self.labels[indices])


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
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def facts(self) -> DataFacts:
        """Describe the data for a study's records. A missing split counts as 0 images."""
        return DataFacts(
            name=self.name,
            classes=self.classes,
            image_shape=self.image_shape,
            train=len(self.train),
            validation=0 if self.validation is None else len(self.validation),
            test=0 if self.test is None else len(self.test),
            fingerprint=self._fingerprint(),
        )

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in ("train", "validation", "test"):
            split: Split | None = getattr(self, part)
            # The shape is hashed too, so that the same bytes divided otherwise give another fingerprint.
            digest.update(f"{part}:{None if split is None else tuple(split.images.shape)};".encode())
            if split is not None:
                digest.update(split.images.contiguous().numpy().reshape(-1).data)
                digest.update(split.labels.numpy().astype("<i8").data)
        return digest.hexdigest()
