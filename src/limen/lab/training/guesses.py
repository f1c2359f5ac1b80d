"""Accuracy: how often the true class is among the first guesses."""

from __future__ import annotations

import torch
from torch import Tensor

from limen.lab.training.meter import Meter


class GuessAccuracy(Meter):
    """The part of the examples whose class is among the ``first`` guesses of logits (N, C).

    Of equal logits the class that comes first is guessed first, as by argmax; a logit that is NaN is guessed before the
    true class, and never for it. The value is 0 where there was no example.

    >>> metric = GuessAccuracy(2)
    >>> metric.update(torch.tensor([[0.1, 0.9, 0.5], [0.0, 0.0, 0.0]]), torch.tensor([2, 2]))
    >>> float(metric.compute())
    0.5
    """

    state = ("places",)
    places: Tensor
    """How often the class was at each place, and behind them all."""

    def __init__(self, first: int = 1) -> None:
        self.first = first
        super().__init__()

    def reset(self) -> None:
        """No example yet."""
        self.places = torch.zeros(self.first + 1, dtype=torch.long, device=self.device)

    def update(self, logits: Tensor, truth: Tensor) -> None:
        """Find the place of the true class among the guesses."""
        own = logits.gather(1, truth[:, None])
        earlier = torch.arange(logits.shape[1], device=logits.device) < truth[:, None]
        before = (logits <= own).logical_not_() | (earlier & (logits == own))
        place = before.sum(1).clamp_(max=self.first)
        self.places += torch.bincount(place, minlength=self.first + 1)

    def compute(self) -> Tensor:
        """The part that is right."""
        return self.places[:-1].sum() / self.places.sum().clamp(min=1)
