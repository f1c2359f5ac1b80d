"""Image classification: one of several classes for each image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab import networks
from limen.lab.data import ByClass, Division, ImageData, divide, load
from limen.lab.records import Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.classification import declared
from limen.lab.tasks.classification.attention import attention
from limen.lab.training import confusion
from limen.lab.training.confusion import ConfusionScore
from limen.lab.training.guesses import GuessAccuracy
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task

TOP = 5
"""In how many guesses the class may be, for the second accuracy."""


class Classification(declared.Classification, Task[ImageData]):
    """Cross-entropy; accuracy decides, top-5 accuracy, Matthews' correlation and macro F1 beside it."""

    def read(self, settings: StudySettings) -> ImageData:
        """Images by name or path."""
        return load(
            settings.data,
            data_dir=Path(settings.data_dir) if settings.data_dir else None,
            image_size=settings.image_size,
            grey=settings.grey,
        )

    def load(self, settings: StudySettings) -> ImageData:
        """Images by name or path, divided by class."""
        return divide(self.read(settings), Division.of(settings), ByClass())

    def offered(self, data: ImageData) -> Mapping[str, Any]:
        """Image shape and number of classes."""
        return networks.described(data.image_shape, len(data.classes))

    def output_shape(self, data: ImageData) -> tuple[int, ...]:
        """One number a class."""
        return (len(data.classes),)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits."""
        return F.cross_entropy(outputs, targets)

    def meters(self, data: ImageData) -> dict[str, Meter]:
        """Accuracy, in the first five guesses too where there are more classes; Matthews' correlation; macro F1."""
        count = len(data.classes)
        found: dict[str, Meter] = {"accuracy": GuessAccuracy()}
        if count > TOP:
            found["top5_accuracy"] = GuessAccuracy(TOP)
        return found | {"mcc": ConfusionScore(count, confusion.mcc), "f1": ConfusionScore(count, confusion.f1)}

    def show(self, network: nn.Module, data: ImageData, settings: StudySettings) -> Shown | None:
        """Where it looks, on some test images."""
        return attention(network, data, settings.device)
