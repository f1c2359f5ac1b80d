"""Text classification: one of several classes for each text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.data import Division
from limen.lab.records import Confusion, Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.text import declared
from limen.lab.tasks.text.rows import BUCKETS, TextData, load_other, load_rows
from limen.lab.training import confusion, transfer
from limen.lab.training.batches import Batches
from limen.lab.training.guesses import GuessAccuracy
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task


class Text(declared.Text, Task[TextData]):
    """Cross-entropy; accuracy decides, macro F1 beside it."""

    def load(self, settings: StudySettings) -> TextData:
        """Two columns of a CSV file, divided by class."""
        assert settings.target is not None
        return load_rows(
            settings.data,
            Division.of(settings),
            text=settings.text,
            target=settings.target,
            window=settings.window,
        )

    def other(self, data: TextData, settings: StudySettings) -> TextData:
        """Every row of the other file that has a text and a class, as many words of each as are learned from."""
        assert settings.test_data is not None
        assert settings.target is not None
        (window,) = data.input_shape
        other = load_other(settings.test_data, text=settings.text, target=settings.target, window=window)
        return transfer.matched(other, data)

    def offered(self, data: TextData) -> Mapping[str, Any]:
        """Numbers that words have, words of a text, number of classes."""
        (window,), count = data.input_shape, len(data.classes)
        sizes = dict.fromkeys(("vocabulary", "vocab_size", "num_embeddings"), BUCKETS)
        return sizes | {"window": window, "num_classes": count, "n_classes": count}

    def output_shape(self, data: TextData) -> tuple[int, ...]:
        """One number a class."""
        return (len(data.classes),)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits."""
        return F.cross_entropy(outputs, targets)

    def meters(self, data: TextData) -> dict[str, Meter]:
        """Accuracy and macro F1."""
        return {"accuracy": GuessAccuracy(), "f1": confusion.ConfusionScore(len(data.classes), confusion.f1)}

    @torch.no_grad()
    def show(self, network: nn.Module, data: TextData, settings: StudySettings) -> Shown:
        """Which classes of the test texts were taken for which."""
        network.eval()
        batches = Batches(data.tested, settings.eval_batch_size, device=settings.device)
        answers, truth = zip(*((network(inputs).argmax(1), labels) for inputs, labels in batches), strict=True)
        counts = confusion.confusion(torch.cat(answers), torch.cat(truth), len(data.classes))
        return Confusion(classes=data.classes, counts=tuple(map(tuple, counts.tolist())))
