"""Images with any number of labels each, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limen.lab.data.images import ImageSamples, ImageSet


@dataclass(frozen=True, eq=False)
class LabelSplit(ImageSamples):
    """Images as uint8 (N, C, H, W) and their labels as float32 (N, labels).

    0 where an image does not have a label, else what the label weighs in the loss.
    """

    labels: Tensor
    names: tuple[str, ...]

    @property
    def there(self) -> Tensor:
        """Which labels an image has, (N, labels)."""
        return self.labels > 0

    def relabelled(self, places: Tensor, classes: int) -> LabelSplit:
        """Each column by its place; a label that there is no column of no image has."""
        columns = torch.zeros(len(self), classes)
        columns[:, places] = self.labels
        return replace(self, labels=columns)

    def per_class(self, classes: int) -> tuple[int, ...]:
        """Images that have each label."""
        return tuple(self.there.sum(0).tolist())

    @property
    def told_apart(self) -> Tensor:
        """Which labels some of the images have and some have not, (labels,)."""
        return self.there.any(0) & ~self.there.all(0)


@dataclass(frozen=True, eq=False)
class LabelData(ImageSet[LabelSplit]):
    """Images with labels, whose names are the classes."""

    counted = "images that have it"


def weighed(split: LabelSplit, weights: Tensor) -> LabelSplit:
    """Every label that an image has weighs so much, (labels,)."""
    return replace(split, labels=split.there * weights)


def rarity(split: LabelSplit) -> Tensor:
    """How many images lack a label for one that has it; 1 where all have it or none.

    >>> split = LabelSplit(torch.zeros(4, 1, 1, 1), torch.tensor([[1.0, 0], [0, 0], [0, 0], [0, 0]]), ())
    >>> rarity(split)
    tensor([3., 1.])
    """
    having = split.there.sum(0)
    return torch.where(split.told_apart, (len(split) - having) / having, torch.ones(having.shape))
