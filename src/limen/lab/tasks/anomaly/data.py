"""Normal images to learn from, and a test set of normal and anomalous ones, with masks of the defects where there are.

Validation holds normal images alone: an anomaly that had a say in the training would no longer be unforeseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.base import ImageData, shape_of_images, split_facts
from limen.lab.records import DataFacts

UNKNOWN = 255
"""Every pixel of an anomaly whose place is not known has this in its mask; 0 is normal, 1 anomalous."""
FEWEST = 5


@dataclass(frozen=True, eq=False)
class AnomalySplit:
    """Images as uint8 (N, C, H, W) and masks as uint8 (N, H, W); an image is normal if its mask is 0 everywhere."""

    images: Tensor
    masks: Tensor
    names: tuple[str, ...]

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Images and masks."""
        return self.images, self.masks

    @property
    def anomalous(self) -> Tensor:
        """Which images are anomalous, (N,)."""
        return (self.masks != 0).flatten(1).any(1)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> AnomalySplit:
        """Return a copy with only the images at ``indices``, in that order."""
        return AnomalySplit(self.images[indices], self.masks[indices], tuple(self.names[i] for i in indices.tolist()))

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels from −1 to 1, and the masks."""
        return inputs.float().sub_(127.5).div_(127.5), targets


@dataclass(frozen=True, eq=False)
class AnomalyData:
    """A divided set: normal images for training and validation, both kinds for the test."""

    name: str
    train: AnomalySplit
    validation: AnomalySplit | None
    test: AnomalySplit
    notes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, the same for every image."""
        return shape_of_images(self.train.images)

    @property
    def has_masks(self) -> bool:
        """Whether the place of any test anomaly is known."""
        return bool((self.test.masks == 1).any())

    def facts(self) -> DataFacts:
        """Describe the data for a study's records."""
        anomalies = int(self.test.anomalous.sum())
        channels, height, width = self.image_shape
        return DataFacts(
            **split_facts(self),
            classes=(),
            image_shape=self.image_shape,
            description=(
                f"normal images of {channels}×{height}×{width} to learn from",
                f"{len(self.test) - anomalies} normal and {anomalies} anomalous ones to test",
            ),
            notes=self.notes,
        )


def divide_normal(
    name: str,
    normal: AnomalySplit,
    test: AnomalySplit | None,
    anomalies: AnomalySplit | None,
    validation: AnomalySplit | None,
    notes: tuple[str, ...],
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    with_validation: bool,
    limit_train: int | None,
    limit_test: int | None,
) -> AnomalyData:
    """Make the splits that a study needs. Without a test set, some of the normal images join the anomalies there."""
    train = normal
    if test is None:
        assert anomalies is not None
        train, kept = _cut(name, train, test_fraction, seed)
        test = join(kept, anomalies)
    train = train.take(_drawn(len(train), limit_train, seed))
    test = _limited(test, limit_test, seed)
    if not with_validation:
        validation = None
    elif validation is None:
        train, validation = _cut(name, train, validation_fraction, seed + 1)
    return AnomalyData(name, train, validation, test, notes)


def one_class(data: ImageData, label: int) -> dict[str, AnomalySplit | None]:
    """One class as the normal one, all others of the test set as anomalies whose place is not known."""

    def parts(images: Tensor, labels: Tensor, normal_only: bool) -> AnomalySplit:
        chosen = labels == label if normal_only else torch.ones_like(labels, dtype=torch.bool)
        images, labels = images[chosen], labels[chosen]
        values = (labels != label).to(torch.uint8) * UNKNOWN
        masks = values[:, None, None].expand(-1, *images.shape[2:]).contiguous()
        return AnomalySplit(images, masks, tuple(data.classes[i] for i in labels.tolist()))

    assert data.test is not None
    return {
        "normal": parts(data.train.images, data.train.labels, True),
        "test": parts(data.test.images, data.test.labels, False),
        "validation": parts(data.validation.images, data.validation.labels, True) if data.validation else None,
    }


def join(first: AnomalySplit, second: AnomalySplit) -> AnomalySplit:
    """One after the other."""
    return AnomalySplit(
        torch.cat([first.images, second.images]),
        torch.cat([first.masks, second.masks]),
        (*first.names, *second.names),
    )


def _cut(name: str, split: AnomalySplit, fraction: float, seed: int) -> tuple[AnomalySplit, AnomalySplit]:
    """What is left, and the part taken out."""
    if len(split) < FEWEST:
        raise DataError(f"{name} has {len(split)} normal images to divide; {FEWEST} or more are needed: add some.")
    taken = _drawn(len(split), min(max(1, round(fraction * len(split))), len(split) - 1), seed)
    left = torch.ones(len(split), dtype=torch.bool)
    left[taken] = False
    return split.take(torch.nonzero(left)[:, 0]), split.take(taken)


def _limited(test: AnomalySplit, limit: int | None, seed: int) -> AnomalySplit:
    """Fewer test images, both kinds in their shares, at least one of each."""
    if limit is None or limit >= len(test):
        return test
    if limit < 2:
        raise DataError(f"a test set of {limit} image cannot hold a normal and an anomalous one; allow 2 or more.")
    kinds = [torch.nonzero(test.anomalous == kind)[:, 0] for kind in (False, True)]
    normal = min(max(1, round(limit * len(kinds[0]) / len(test))), limit - 1)
    chosen = [kind[_drawn(len(kind), count, seed)] for kind, count in zip(kinds, (normal, limit - normal), strict=True)]
    return test.take(torch.cat(chosen).sort().values)


def _drawn(count: int, limit: int | None, seed: int) -> Tensor:
    """So many of ``count`` indices at random, in order; all of them without a limit."""
    if limit is None or limit >= count:
        return torch.arange(count)
    # RandomState, because NumPy guarantees that its stream never changes.
    return torch.from_numpy(np.sort(np.random.RandomState(seed % 2**32).permutation(count)[:limit]))
