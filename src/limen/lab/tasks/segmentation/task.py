"""Segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab import networks
from limen.lab.data import Division, divide
from limen.lab.data.strategies import ORDERS, InGroups
from limen.lab.records import Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.segmentation import declared
from limen.lab.tasks.segmentation.masks import IGNORED, MaskData, MaskSplit, load_masks
from limen.lab.tasks.segmentation.networks.monai_part import monai_part
from limen.lab.tasks.segmentation.picture import overlays
from limen.lab.tasks.segmentation.surfaces import distances
from limen.lab.training import confusion
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task


class Segmentation(declared.Segmentation, Task[MaskData]):
    """Dice and cross-entropy loss; Dice decides, IoU, precision and recall beside it.

    All are over all pixels of the test set at once: of the foreground where there are two classes, else the mean of the
    classes.
    """

    def check(self, settings: StudySettings) -> None:
        """MONAI is needed, for the loss at least."""
        monai_part("losses")

    def read(self, settings: StudySettings) -> MaskData:
        """Images with masks."""
        return load_masks(
            settings.data,
            image_size=settings.image_size,
            grey=settings.grey,
            ignore_label=settings.ignore_label,
            foreground=settings.foreground,
            intensity=settings.intensity,
            orientation=settings.orientation,
        )

    def load(self, settings: StudySettings) -> MaskData:
        """Images with masks, divided."""
        found = self.read(settings)
        order = ORDERS[settings.split]
        return divide(found, Division.of(settings), InGroups(order) if found.train.groups else order)

    def offered(self, data: MaskData) -> Mapping[str, Any]:
        """Image shape and number of classes."""
        return networks.described(data.image_shape, len(data.classes))

    def output_shape(self, data: MaskData) -> tuple[int, ...]:
        """One number a class and pixel."""
        return (len(data.classes), *data.image_shape[1:])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Dice loss over the batch plus cross-entropy, both of the pixels that count: MONAI's DiceCELoss, masked."""
        counts = targets != IGNORED
        classes = targets.where(counts, torch.zeros_like(targets))
        wanted = F.one_hot(classes, outputs.shape[1]).movedim(-1, 1).to(outputs.dtype)
        dice: Tensor = _dice()(outputs, wanted, counts[:, None].to(outputs.dtype))
        entropy = F.cross_entropy(outputs, targets, ignore_index=IGNORED, reduction="sum")
        return dice + entropy / counts.sum().clamp(min=1)  # a batch may hold none that count

    def meters(self, data: MaskData) -> dict[str, Meter]:
        """Dice, IoU, mIoU, precision and recall."""
        count = len(data.classes)
        scores = {
            "dice": confusion.f1,
            "iou": confusion.iou,
            "miou": confusion.iou,
            "precision": confusion.precision,
            "recall": confusion.recall,
        }
        if data.binary:
            scores |= {
                "dice": confusion.foreground_dice,
                "iou": confusion.foreground_iou,
                "precision": confusion.foreground_precision,
                "recall": confusion.foreground_recall,
            }
        found: dict[str, Meter] = {name: confusion.ConfusionScore(count, score) for name, score in scores.items()}
        if not data.binary:
            found["dice"] = confusion.ConfusionScore(count, confusion.f1, confusion.f1_of_each)
        return found

    def examine(
        self, network: nn.Module, split: MaskSplit, data: MaskData, settings: StudySettings
    ) -> dict[str, float]:
        """Of scans whose voxels have a size, how far surfaces lie from one another."""
        if not split.places:
            return {}
        return distances(network, split, data.classes, settings.eval_batch_size, settings.device)

    def answer(self, outputs: Tensor, targets: Tensor, data: MaskData) -> tuple[Tensor, Tensor]:
        """The predicted and the true class of every pixel that counts."""
        counts = targets != IGNORED
        return outputs.argmax(1)[counts], targets[counts]

    def show(self, network: nn.Module, data: MaskData, settings: StudySettings) -> Shown:
        """Some test images with true and predicted mask laid over them."""
        return overlays(network, data, settings.device)


@cache
def _dice() -> nn.Module:
    found: nn.Module = monai_part("losses").MaskedDiceLoss(softmax=True, batch=True)
    return found
