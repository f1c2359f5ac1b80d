"""Scores of answered classes, all of them read off one table: how often which class was taken for which.

A score that would divide by 0 is 0, as in scikit-learn: Matthews' correlation of a constant answer, the precision of a
class that is never answered. A mean over classes leaves out those that neither truth nor answer has.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.lab.training.meter import Meter

Counts = NDArray[np.float64]
"""(classes, classes): row the true class, column the answered one."""


def confusion(answers: Tensor, truth: Tensor, classes: int) -> Tensor:
    """How often which class (row) was taken for which (column).

    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
    tensor([[1, 1],
            [0, 1]])
    """
    pairs = truth.flatten().long() * classes + answers.flatten().long()
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)


class ConfusionScore(Meter):
    """A score of all that was seen: of classes, or of logits (N, C, …), whose largest is the answer."""

    state = ("counts",)
    counts: Tensor

    def __init__(
        self, classes: int, score: Callable[[Counts], float], each: Callable[[Counts], list[float]] | None = None
    ) -> None:
        self.classes, self.score, self.each = classes, score, each
        super().__init__()

    def reset(self) -> None:
        """Nothing was taken for anything."""
        self.counts = torch.zeros(self.classes, self.classes, dtype=torch.long, device=self.device)

    def update(self, answers: Tensor, truth: Tensor) -> None:
        """Count; there may be none."""
        chosen = answers.argmax(1) if answers.ndim > truth.ndim else answers
        self.counts += confusion(chosen, truth, self.classes)

    def compute(self) -> Tensor:
        """The score."""
        return torch.tensor(self.score(self._counted()), device=self.device)

    def of_each(self) -> list[float]:
        """The score of each class, where it was asked for."""
        return [] if self.each is None else self.each(self._counted())

    def _counted(self) -> Counts:
        return self.counts.cpu().numpy().astype(np.float64)


def mcc(counts: Counts) -> float:
    """Matthews' correlation of any number of classes; 0 where truth or answer is one class.

    Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient.

    >>> mcc(np.array([[90.0, 0.0], [10.0, 0.0]])), mcc(np.array([[5.0, 0.0], [0.0, 5.0]]))
    (0.0, 1.0)
    """
    total, true, answered = counts.sum(), counts.sum(1), counts.sum(0)
    spread = (total**2 - true @ true) * (total**2 - answered @ answered)
    return float((np.trace(counts) * total - true @ answered) / np.sqrt(spread)) if spread > 0 else 0.0


def f1(counts: Counts) -> float:
    """The mean of the classes' F1, which is their Dice."""
    return _mean(2 * np.diag(counts), counts.sum(1) + counts.sum(0), counts)


def f1_of_each(counts: Counts) -> list[float]:
    """The F1 of each class, which is its Dice; NaN where neither truth nor answer has it.

    >>> f1_of_each(np.array([[3.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    [0.75, 0.5, nan]
    """
    wholes = counts.sum(1) + counts.sum(0)
    return [
        float(2 * own / whole) if whole else float("nan") for own, whole in zip(np.diag(counts), wholes, strict=True)
    ]


def iou(counts: Counts) -> float:
    """The mean of the classes' intersection over union."""
    return _mean(np.diag(counts), _seen(counts), counts)


def precision(counts: Counts) -> float:
    """The mean of the classes' precision."""
    return _mean(np.diag(counts), counts.sum(0), counts)


def recall(counts: Counts) -> float:
    """The mean of the classes' recall."""
    return _mean(np.diag(counts), counts.sum(1), counts)


def foreground_dice(counts: Counts) -> float:
    """The Dice of the second of two classes."""
    return _part(2 * counts[1, 1], counts[1].sum() + counts[:, 1].sum())


def foreground_iou(counts: Counts) -> float:
    """The intersection over union of the second of two classes."""
    return _part(counts[1, 1], counts[1].sum() + counts[0, 1])


def foreground_precision(counts: Counts) -> float:
    """The precision of the second of two classes."""
    return _part(counts[1, 1], counts[:, 1].sum())


def foreground_recall(counts: Counts) -> float:
    """The recall of the second of two classes."""
    return _part(counts[1, 1], counts[1].sum())


def _seen(counts: Counts) -> NDArray[np.float64]:
    """How often truth or answer was each class."""
    found: NDArray[np.float64] = counts.sum(1) + counts.sum(0) - np.diag(counts)
    return found


def _mean(parts: NDArray[np.float64], wholes: NDArray[np.float64], counts: Counts) -> float:
    """Of the parts of the wholes of the classes that truth or answer has; 0 where there are none."""
    there = _seen(counts) > 0
    found = [_part(part, whole) for part, whole in zip(parts[there], wholes[there], strict=True)]
    return float(np.mean(found)) if found else 0.0


def _part(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0
