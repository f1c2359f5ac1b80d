"""How well labels are told: the order of their scores, and what is answered at a threshold for each."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.lab.training import ranking
from limen.lab.training.meter import Meter

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]
HALF = 0.0
"""The logit of a probability of a half."""


class _Labels(Meter):
    """The mean over the labels of a measure of each; both take logits (N, labels) and which labels are there."""

    state = ("scores", "truth")
    scores: list[Tensor]
    truth: list[Tensor]

    def reset(self) -> None:
        """Keep nothing."""
        self.scores, self.truth = [], []

    def update(self, answer: Tensor, truth: Tensor) -> None:
        """Keep a batch."""
        self.scores.append(answer.detach().cpu())
        self.truth.append(truth.cpu())

    def kept(self) -> tuple[Scores, Truth]:
        """All that was seen, (images, labels)."""
        return torch.cat(self.scores).double().numpy(), torch.cat(self.truth).numpy()

    def of_each(self) -> list[float]:
        """The measure of each label; NaN where the images leave it without one."""
        scores, truth = self.kept()
        return [self.of_label(scores[:, label], truth[:, label], label) for label in range(truth.shape[1])]

    def compute(self) -> Tensor:
        """Over the labels that have one; NaN where a score is, or where no label has any."""
        scores, _ = self.kept()
        found = np.array(self.of_each())
        known = found[~np.isnan(found)]
        return torch.tensor(float(known.mean()) if known.size and not np.isnan(scores).any() else float("nan"))

    @abstractmethod
    def of_label(self, scores: Scores, truth: Truth, label: int) -> float:
        """The measure of one label."""


class AUROC(_Labels):
    """How often an image that has a label is scored above one that has not.

    >>> metric = AUROC()
    >>> metric.update(torch.tensor([[2.0, 1], [1, 5], [0, 5]]), torch.tensor([[1, 1], [0, 1], [0, 1]]) > 0)
    >>> metric.of_each(), float(metric.compute())
    ([1.0, nan], 1.0)
    """

    def of_label(self, scores: Scores, truth: Truth, label: int) -> float:
        """NaN where all images have it, or none."""
        return ranking.auroc(scores, truth)


class Precision(_Labels):
    """Average precision, of labels that some images have and some have not."""

    def of_label(self, scores: Scores, truth: Truth, label: int) -> float:
        """NaN where all images have it, or none."""
        return ranking.average_precision(scores, truth) if truth.any() and not truth.all() else float("nan")


class Decided(_Labels):
    """Labels as they are answered: where a score reaches the label's threshold."""

    choosing = False
    """Whether what is seen chooses the thresholds before it is measured by them."""
    thresholds: list[float] | None = None
    """Of each label; None: a probability of a half."""

    def of_each(self) -> list[float]:
        """The measure of each label at its threshold."""
        if self.choosing:
            self.thresholds = [*map(best_threshold, *(part.T for part in self.kept()))]
        return super().of_each()

    def of_label(self, scores: Scores, truth: Truth, label: int) -> float:
        """Of what is answered."""
        return self.of_answers(scores >= (HALF if self.thresholds is None else self.thresholds[label]), truth)

    @abstractmethod
    def of_answers(self, answers: Truth, truth: Truth) -> float:
        """The measure of one label's answers."""


class F1(Decided):
    """The harmonic mean of precision and recall."""

    def of_answers(self, answers: Truth, truth: Truth) -> float:
        """NaN where neither truth nor answer has the label."""
        seen = answers.sum() + truth.sum()
        return float(2 * (answers & truth).sum() / seen) if seen else float("nan")


class Hamming(Decided):
    """How often a label is answered that an image has not, or not answered that it has."""

    def of_answers(self, answers: Truth, truth: Truth) -> float:
        """Of all images."""
        return float((answers != truth).mean())


def best_threshold(scores: Scores, truth: Truth) -> float:
    """Midway between two scores, where F1 is highest; of several the nearest to a half.

    A half where all images have the label, or none, or where a score is NaN: nothing is to be chosen by.

    >>> best_threshold(np.array([-3.0, -2.0, -1.0, 4.0]), np.array([False, False, True, True]))
    -1.5
    """
    if truth.all() or not truth.any() or np.isnan(scores).any():
        return HALF
    levels, places = np.unique(scores, return_inverse=True)
    right = np.bincount(places, weights=truth)[::-1].cumsum()[::-1]
    answered = np.bincount(places)[::-1].cumsum()[::-1]
    f1 = 2 * right / (answered + truth.sum())
    thresholds = np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2])
    best = thresholds[f1 == f1.max()]
    return float(best[np.abs(best).argmin()])
