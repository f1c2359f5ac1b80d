"""Several labels an image: for each whether the image has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from limen.errors import DataError
from limen.lab import networks
from limen.lab.data import Division, divide
from limen.lab.data.division import Strategy
from limen.lab.data.strategies import ORDERS
from limen.lab.settings import StudySettings
from limen.lab.tasks.multilabel import declared, meters
from limen.lab.tasks.multilabel.data import LabelData, LabelSplit, rarity, weighed
from limen.lab.tasks.multilabel.division import ByLabels
from limen.lab.tasks.multilabel.labels import load_labels
from limen.lab.tasks.multilabel.training import WithThresholds
from limen.lab.training import transfer
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task


class Multilabel(declared.Multilabel, Task[LabelData]):
    """Cross-entropy of each label, weighed by how rare it is; mean AUROC decides, mAP, F1, Hamming loss beside it."""

    def read(self, settings: StudySettings) -> LabelData:
        """Images with labels."""
        return load_labels(
            settings.data,
            target=settings.target,
            drop=settings.drop,
            image_size=settings.image_size,
            grey=settings.grey,
        )

    def load(self, settings: StudySettings) -> LabelData:
        """Images with labels, divided by label or as the file says."""
        found = self.read(settings)
        by: Strategy[Any] = ByLabels() if settings.split == "random" else ORDERS[settings.split]
        data = divide(found, Division.of(settings), by)
        _check(data)
        weights = rarity(data.train)
        return replace(
            data,
            train=weighed(data.train, weights),
            validation=None if data.validation is None else weighed(data.validation, weights),
            test=weighed(data.tested, weights),
            notes=(*data.notes, *_said(data)),
        )

    def other(self, data: LabelData, settings: StudySettings) -> LabelData:
        """With the weights of the data's training images."""
        found = super().other(data, settings)
        whole = replace(found, train=transfer.every(found), validation=None, test=None)
        if not whole.train.told_apart.any():
            raise DataError(f"{found.name} has no label that some of its images have and some have not.")
        notes = (*found.notes, *_not_measured(found.name, found.classes, whole.train))
        return replace(whole, train=weighed(whole.train, rarity(data.train)), notes=notes)

    def offered(self, data: LabelData) -> Mapping[str, Any]:
        """Image shape and number of labels."""
        return networks.described(data.image_shape, len(data.classes))

    def output_shape(self, data: LabelData) -> tuple[int, ...]:
        """One number a label."""
        return (len(data.classes),)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, the mean over images and labels; a label that an image has counts by its weight."""
        there = targets > 0
        weights = targets.where(there, 1.0)
        return F.binary_cross_entropy_with_logits(outputs, there.to(outputs.dtype), weight=weights.to(outputs.dtype))

    def learner(self, network: nn.Module, data: LabelData, settings: StudySettings) -> WithThresholds:
        """As any other, with thresholds chosen on validation images."""
        return WithThresholds(network, self, data, settings)

    def meters(self, data: LabelData) -> dict[str, Meter]:
        """AUROC, average precision and F1, each the mean of the labels, and how often a label is mistaken."""
        return {"auroc": meters.AUROC(), "map": meters.Precision(), "f1": meters.F1(), "hamming": meters.Hamming()}

    def answer(self, outputs: Tensor, targets: Tensor, data: LabelData) -> tuple[Tensor, Tensor]:
        """Logits, and which labels are there."""
        return outputs, targets > 0


def _check(data: LabelData) -> None:
    """Raise where no label of a part can be measured."""
    for what, split in _parts(data).items():
        if not split.told_apart.any():
            raise DataError(
                f"the {what} part of {data.name} ({len(split)} images) has no label that some of its images have and "
                "some have not, so nothing can be measured; add images, or give it a larger part."
            )


def _parts(data: LabelData) -> dict[str, LabelSplit]:
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    return {what: split for what, split in parts.items() if split is not None}


def _said(data: LabelData) -> tuple[str, ...]:
    """Which labels cannot be learned, and which are left out of a part's measures."""
    return tuple(note for what, split in _parts(data).items() for note in _not_measured(what, data.classes, split))


def _not_measured(what: str, classes: tuple[str, ...], split: LabelSplit) -> list[str]:
    """Which labels all images of a part have, or none."""
    notes = []
    done = "cannot be learned" if what == "training" else "is left out of its AUROC and mAP"
    for of, chosen in (("No", ~split.there.any(0)), ("Every", split.there.all(0))):
        names = [name for name, one in zip(classes, chosen.tolist(), strict=True) if one]
        if names:
            notes.append(f"{of} {what} image has {_listed(names)}: what has no other case {done}.")
    return notes


def _listed(names: list[str], most: int = 20) -> str:
    """The first names.

    >>> _listed(["cat", "dog", "cow"], most=2)
    'cat, dog and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
