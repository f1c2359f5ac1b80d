"""Detection: a class and a box for every object in an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from limen.lab import networks
from limen.lab.data import Division, divide
from limen.lab.data.strategies import ORDERS
from limen.lab.records import Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.detection import declared, default_boxes, libraries
from limen.lab.tasks.detection.boxes import BoxData, load_boxes
from limen.lab.tasks.detection.meters import LabelAccuracy, MaskPrecision, Precision, without_masks
from limen.lab.tasks.detection.own_losses import ByOwnLosses, WithLosses
from limen.lab.tasks.detection.picture import overlays
from limen.lab.training.meter import Meter
from limen.lab.training.supervised import Supervised
from limen.lab.training.task import ANY, Task


class Detection(declared.Detection, Task[BoxData]):
    """SSD's loss and answer, or a network's own loss; mAP at an overlap of 0.5 decides, over 0.5 to 0.95 beside it."""

    def check(self, settings: StudySettings) -> None:
        """Networks of torchvision need it."""
        of_torchvision = settings.network.startswith(libraries.PREFIX) or _has_masks(settings)
        if settings.network in self.networks and of_torchvision:
            libraries.detectors(settings.network)

    def read(self, settings: StudySettings) -> BoxData:
        """Images with boxes, and with masks for a network that learns from them."""
        return load_boxes(
            settings.data,
            image_size=settings.image_size,
            grey=settings.grey,
            orientation=settings.orientation,
            masks=_has_masks(settings),
        )

    def load(self, settings: StudySettings) -> BoxData:
        """Images with boxes, divided."""
        return divide(self.read(settings), Division.of(settings), ORDERS[settings.split])

    def offered(self, data: BoxData) -> Mapping[str, Any]:
        """Image shape and number of classes."""
        return networks.described(data.image_shape, len(data.classes))

    def output_shape(self, data: BoxData) -> tuple[int, ...]:
        """For any number of default boxes: logits of no object and of the classes, offsets, the default box."""
        return (ANY, 1 + len(data.classes) + 4 + 4 + data.mask_numbers)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with hard negatives, and smooth L1 of the offsets."""
        return default_boxes.loss(*without_masks(outputs, targets))

    def objective(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The network's own losses, where it has some."""
        if isinstance(network, WithLosses):
            return network.losses(inputs, targets)
        return super().objective(network, inputs, targets)

    def learner(self, network: nn.Module, data: BoxData, settings: StudySettings) -> Supervised:
        """As any other, unless the network has losses of its own."""
        kind = ByOwnLosses if isinstance(network, WithLosses) else Supervised
        return kind(network, self, data, settings)

    def meters(self, data: BoxData) -> dict[str, Meter]:
        """Mean average precision at an overlap of 0.5, and over 0.5, 0.55, …, 0.95."""
        count = len(data.classes)
        boxes: dict[str, Meter] = {"map50": Precision(count, thresholds=(0,)), "map": Precision(count)}
        if not data.mask_numbers:
            return boxes
        size = data.image_shape[1:]
        return {
            **boxes,
            "mask_map50": MaskPrecision(count, size, thresholds=(0,)),
            "mask_map": MaskPrecision(count, size),
        }

    def train_meter(self, data: BoxData) -> Meter:
        """How many default boxes with an object have its class: mAP would suppress and match boxes at every step."""
        return LabelAccuracy()

    def show(self, network: nn.Module, data: BoxData, settings: StudySettings) -> Shown:
        """Some test images with true and predicted boxes drawn on them."""
        return overlays(network, data, settings.device)


def _has_masks(settings: StudySettings) -> bool:
    return re.fullmatch(declared.MASK_RCNN, settings.network) is not None
