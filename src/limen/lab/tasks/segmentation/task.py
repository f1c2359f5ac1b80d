"""Segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric as Meter
from torchmetrics.classification import (
    BinaryF1Score,
    BinaryJaccardIndex,
    BinaryPrecision,
    BinaryRecall,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from limen.lab import networks, pictures
from limen.lab.data import TaskData, evenly
from limen.lab.data.parts import divide_masks
from limen.lab.metric import fraction
from limen.lab.records import Overlay, Overlays, Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.segmentation.masks import IGNORED, MaskData, load_masks
from limen.lab.tasks.segmentation.networks import NETWORKS
from limen.lab.tasks.segmentation.networks.monai_part import monai_part
from limen.lab.training.batches import Batches
from limen.lab.training.task import Task

SHOWN = 3
"""Test images in the report, for each activation."""
HEIGHT_SHOWN = 160
OPACITY = 0.5


class Segmentation(Task):
    """Dice and cross-entropy loss; Dice decides, IoU, precision and recall beside it.

    All are over all pixels of the test set at once: of the foreground where there are two classes, else the mean of the
    classes.
    """

    name = "segmentation"
    about = "a class for every pixel: images/ and masks/ of matching names, PASCAL VOC, ADE20K, or NIfTI scans"
    measure = fraction("dice", "Dice")
    metrics = (
        measure,
        fraction("iou", "IoU"),
        fraction("miou", "mIoU"),
        fraction("precision", "precision"),
        fraction("recall", "recall"),
    )
    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = NETWORKS
    defaults: ClassVar[Mapping[str, Any]] = {"network": "unet", "batch_size": 8, "eval_batch_size": 8}
    options = frozenset({"image_size", "grey", "channels_last", "ignore_label", "foreground", "intensity", "split"})
    observed = 8
    packages: ClassVar[tuple[str, ...]] = ("monai",)

    def check(self, settings: StudySettings) -> None:
        """MONAI is needed, for the loss at least."""
        monai_part("losses")

    def load(self, settings: StudySettings) -> MaskData:
        """Images with masks."""
        found = load_masks(
            settings.data,
            image_size=settings.image_size,
            grey=settings.grey,
            ignore_label=settings.ignore_label,
            foreground=settings.foreground,
            intensity=settings.intensity,
        )
        return divide_masks(
            *found,
            blocks=settings.split == "blocks",
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
            seed=settings.split_seed,
            with_validation=not settings.test_chooses,
            limit_train=settings.limit_train,
            limit_test=settings.limit_test,
        )

    def offered(self, data: TaskData) -> Mapping[str, Any]:
        """Image shape and number of classes."""
        return networks.described(_masked(data).image_shape, len(_masked(data).classes))

    def output_shape(self, data: TaskData) -> tuple[int, ...]:
        """One number a class and pixel."""
        return (len(_masked(data).classes), *_masked(data).image_shape[1:])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Dice loss over the batch plus cross-entropy, both of the pixels that count: MONAI's DiceCELoss, masked."""
        counts = targets != IGNORED
        classes = targets.where(counts, torch.zeros_like(targets))
        wanted = F.one_hot(classes, outputs.shape[1]).movedim(-1, 1).to(outputs.dtype)
        dice: Tensor = _dice()(outputs, wanted, counts[:, None].to(outputs.dtype))
        return dice + F.cross_entropy(outputs, targets, ignore_index=IGNORED)

    def meters(self, data: TaskData) -> dict[str, Meter]:
        """Dice, IoU, mIoU, precision and recall."""
        count = len(_masked(data).classes)
        miou = MulticlassJaccardIndex(count, average="macro")
        if _masked(data).binary:
            foreground = {"dice": BinaryF1Score(), "iou": BinaryJaccardIndex()}
            return {**foreground, "miou": miou, "precision": BinaryPrecision(), "recall": BinaryRecall()}
        return {
            "dice": MulticlassF1Score(count, average="macro"),
            "iou": MulticlassJaccardIndex(count, average="macro"),
            "miou": miou,
            "precision": MulticlassPrecision(count, average="macro"),
            "recall": MulticlassRecall(count, average="macro"),
        }

    def answer(self, outputs: Tensor, targets: Tensor, data: TaskData) -> tuple[Tensor, Tensor]:
        """The predicted and the true class of every pixel that counts."""
        counts = targets != IGNORED
        return outputs.argmax(1)[counts], targets[counts]

    def show(self, network: nn.Module, data: TaskData, settings: StudySettings) -> Shown:
        """Some test images with true and predicted mask laid over them."""
        found = _masked(data)
        chosen = evenly(found.test, SHOWN)
        network.eval()
        with torch.no_grad():
            inputs, _ = next(iter(Batches(chosen, SHOWN, device=settings.device)))
            predicted = network(inputs).argmax(1).cpu().numpy().astype(np.uint8)
        colours = _colours(len(found.classes), binary=found.binary)
        drawn = [
            Overlay(name=name, picture=_drawn(image.numpy(), mask.numpy(), answer, colours))
            for name, image, mask, answer in zip(chosen.names, chosen.images, chosen.masks, predicted, strict=True)
        ]
        legend = tuple(zip(found.classes, map(pictures.hexadecimal, colours), strict=True))
        return Overlays(legend=legend[found.binary :], images=tuple(drawn))


def _colours(count: int, *, binary: bool) -> list[tuple[int, int, int]]:
    """A colour a class, far from one another; the background of two classes is not coloured."""
    if binary:
        return [(0, 0, 0), (230, 60, 40)]
    return pictures.colours(count)


def _drawn(image: np.ndarray, mask: np.ndarray, answer: np.ndarray, colours: list[tuple[int, int, int]]) -> str:
    """Image, true mask, predicted mask side by side, as JPEG in base64."""
    picture = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).astype(np.float32)
    side_by_side = np.concatenate([picture, _laid(picture, mask, colours), _laid(picture, answer, colours)], axis=1)
    return pictures.jpeg(side_by_side.round().astype(np.uint8), HEIGHT_SHOWN)


def _laid(picture: np.ndarray, mask: np.ndarray, colours: list[tuple[int, int, int]]) -> np.ndarray:
    table = np.zeros((256, 3), dtype=np.float32)
    table[: len(colours)] = colours
    covered = (table[mask].sum(axis=2, keepdims=True) > 0) * OPACITY
    return picture * (1 - covered) + table[mask] * covered


@cache
def _dice() -> nn.Module:
    found: nn.Module = monai_part("losses").MaskedDiceLoss(softmax=True, batch=True)
    return found


def _masked(data: TaskData) -> MaskData:
    assert isinstance(data, MaskData)
    return data
