"""Normal images to learn from, and normal and anomalous ones to test, with masks of the defects where there are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limen.lab.data.images import ImageData, ImageSamples, ImageSet, Split

UNKNOWN = 255
"""Every pixel of an anomaly whose place is not known has this in its mask; 0 is normal, 1 anomalous."""


@dataclass(frozen=True, eq=False)
class AnomalySplit(ImageSamples):
    """Images as uint8 (N, C, H, W) and masks as uint8 (N, H, W); an image is normal if its mask is 0 everywhere."""

    masks: Tensor
    names: tuple[str, ...]

    @property
    def anomalous(self) -> Tensor:
        """Which images are anomalous, (N,)."""
        return (self.masks != 0).flatten(1).any(1)


@dataclass(frozen=True, eq=False)
class AnomalyData(ImageSet[AnomalySplit]):
    """Normal images for training and validation, both kinds for the test."""

    anomalies: AnomalySplit | None = None
    """Where there is no test set: what some of the normal images will be tested beside."""

    @property
    def has_masks(self) -> bool:
        """Whether the place of any test anomaly is known."""
        return bool((self.tested.masks == 1).any())

    def describe(self) -> tuple[str, ...]:
        """What is learned from, and what is tested."""
        anomalies = int(self.tested.anomalous.sum())
        channels, height, width = self.image_shape
        return (
            f"normal images of {channels}×{height}×{width} to learn from",
            f"{len(self.tested) - anomalies} normal and {anomalies} anomalous ones to test",
        )


def one_class(data: ImageData, label: int) -> AnomalyData:
    """One class as the normal one, all others of the test set as anomalies whose place is not known."""

    def parts(split: Split, chosen: Tensor) -> AnomalySplit:
        images, labels = split.images[chosen], split.labels[chosen]
        values = (labels != label).to(torch.uint8) * UNKNOWN
        masks = values[:, None, None].expand(-1, *images.shape[2:]).contiguous()
        return AnomalySplit(images, masks, tuple(data.classes[i] for i in labels.tolist()))

    train, validation = (
        None if split is None else parts(split, split.labels == label) for split in (data.train, data.validation)
    )
    assert train is not None
    test = parts(data.tested, torch.ones_like(data.tested.labels, dtype=torch.bool))
    others = ", ".join(name for index, name in enumerate(data.classes) if index != label)
    note = f"Normal: {data.classes[label]}. Anomalous: {others}."
    return AnomalyData(data.name, (), train, validation, test, (note,))


def join(first: AnomalySplit, second: AnomalySplit) -> AnomalySplit:
    """One after the other."""
    return AnomalySplit(
        torch.cat([first.images, second.images]),
        torch.cat([first.masks, second.masks]),
        (*first.names, *second.names),
    )
