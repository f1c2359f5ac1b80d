"""Sequence recognition: one of several classes for each sequence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.data import Division
from limen.lab.records import Confusion, Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.sequence import declared
from limen.lab.tasks.sequence.sequences import SequenceData, divided, of_length, read_sequences, standardised
from limen.lab.training import confusion, transfer
from limen.lab.training.batches import Batches
from limen.lab.training.guesses import GuessAccuracy
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task


class Sequence(declared.Sequence, Task[SequenceData]):
    """Cross-entropy; accuracy decides, macro F1 beside it."""

    def read(self, settings: StudySettings) -> SequenceData:
        """Sequences by path, or images by name or path."""
        return read_sequences(
            settings.data,
            data_dir=Path(settings.data_dir) if settings.data_dir else None,
            image_size=settings.image_size,
            grey=settings.grey,
        )

    def load(self, settings: StudySettings) -> SequenceData:
        """Divided by class, and standardised."""
        return divided(self.read(settings), Division.of(settings))

    def other(self, data: SequenceData, settings: StudySettings) -> SequenceData:
        """Standardised as the training steps are, and padded to the longest of both."""
        given = transfer.settings_for_other(data, settings)
        found = self.read(
            given if data.image_size is None else given.model_copy(update={"image_size": data.image_size})
        )
        assert data.scale is not None
        return standardised(transfer.matched(of_length(found, data.input_shape[0]), data), data.scale)

    def offered(self, data: SequenceData) -> Mapping[str, Any]:
        """Shape of a sequence, features of a step, number of classes."""
        shape, count = data.input_shape, len(data.classes)
        return {"input_shape": shape, "in_features": shape[-1], "num_classes": count, "n_classes": count}

    def output_shape(self, data: SequenceData) -> tuple[int, ...]:
        """One number a class."""
        return (len(data.classes),)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits."""
        return F.cross_entropy(outputs, targets)

    def meters(self, data: SequenceData) -> dict[str, Meter]:
        """Accuracy and macro F1."""
        return {"accuracy": GuessAccuracy(), "f1": confusion.ConfusionScore(len(data.classes), confusion.f1)}

    @torch.no_grad()
    def show(self, network: nn.Module, data: SequenceData, settings: StudySettings) -> Shown:
        """Which classes of the test sequences were taken for which."""
        network.eval()
        batches = Batches(data.tested, settings.eval_batch_size, device=settings.device)
        answers, truth = zip(*((network(inputs).argmax(1), labels) for inputs, labels in batches), strict=True)
        counts = confusion.confusion(torch.cat(answers), torch.cat(truth), len(data.classes))
        return Confusion(classes=data.classes, counts=tuple(map(tuple, counts.tolist())))
