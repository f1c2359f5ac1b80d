"""RMSE, MAE and R² of all that was predicted, in double precision: no unit is too small or too large for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.lab.training.meter import Meter

Numbers = NDArray[np.float64]


class ResidualScore(Meter):
    """A score of predictions and truth, (N,) each, as float64 on the CPU."""

    state = ("predictions", "truth")
    predictions: list[Tensor]
    truth: list[Tensor]

    def __init__(self, score: Callable[[Numbers, Numbers], float]) -> None:
        self.score = score
        super().__init__()

    def reset(self) -> None:
        """Keep nothing."""
        self.predictions, self.truth = [], []

    def update(self, predictions: Tensor, truth: Tensor) -> None:
        """Take in some."""
        self.predictions.append(predictions)
        self.truth.append(truth)

    def compute(self) -> Tensor:
        """The score."""
        predictions, truth = (torch.cat(state).numpy() for state in (self.predictions, self.truth))
        return torch.tensor(self.score(predictions, truth))


def rmse(predictions: Numbers, truth: Numbers) -> float:
    """The root of the mean squared error.

    >>> rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.414...
    """
    return float(np.sqrt(np.mean((predictions - truth) ** 2)))


def mae(predictions: Numbers, truth: Numbers) -> float:
    """The mean absolute error."""
    return float(np.mean(np.abs(predictions - truth)))


def r2(predictions: Numbers, truth: Numbers) -> float:
    """The part of the truth's variance that is explained.

    Of a truth that never changes it is 1 where every prediction is right, else 0, as in scikit-learn; of fewer than two
    values it is NaN.

    >>> r2(np.array([1.0, 2.0]), np.array([1.0, 3.0])), r2(np.array([0.1, 0.2]), np.array([0.1, 0.1]))
    (0.5, 0.0)
    """
    if len(truth) < 2:
        return float("nan")
    missed = float(np.sum((predictions - truth) ** 2))
    if (truth == truth[0]).all():
        return float(missed == 0)
    return 1 - missed / float(np.sum((truth - truth.mean()) ** 2))
