"""Regression: a number from the other columns of a table."""

from __future__ import annotations

import torch
from torch import nn

from limen.lab.data import Division
from limen.lab.records import Scatter, Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.numbers import declared
from limen.lab.tasks.numbers.data import NumberData
from limen.lab.tasks.numbers.tabular import load_tabular
from limen.lab.tasks.numbers.task import NumericTask, predicted

POINTS = 400
"""Test examples drawn in the report."""


class Regression(declared.Regression, NumericTask):
    """A CSV file with a target column, its rows divided at random."""

    def load(self, settings: StudySettings) -> NumberData:
        """Rows of the file."""
        assert settings.target is not None
        return load_tabular(settings.data, settings.target, Division.of(settings), drop=settings.drop)

    def show(self, network: nn.Module, data: NumberData, settings: StudySettings) -> Shown:
        """Predicted against true."""
        chosen = torch.linspace(0, len(data.tested) - 1, min(POINTS, len(data.tested))).long()
        centre, targets = data.centre, data.tested.targets
        answers, truth = self.answer(predicted(network, data, settings)[:, None], targets, data)
        return Scatter(
            quantity=data.target,
            true=tuple((truth[chosen] + centre).tolist()),
            predicted=tuple((answers[chosen] + centre).tolist()),
        )
