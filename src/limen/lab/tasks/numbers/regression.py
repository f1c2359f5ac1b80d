"""Regression: a number from the other columns of a table."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from limen.errors import DataError
from limen.lab.data import Division
from limen.lab.data.csv_file import read_table
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

    def other(self, data: NumberData, settings: StudySettings) -> NumberData:
        """Every row that has a target, encoded as the training rows are."""
        assert settings.test_data is not None
        assert data.encode is not None
        table = read_table(settings.test_data)
        table.need(data.target, "--target")
        rows = data.encode(table)
        if len(rows) < 2:
            raise DataError(f"{table.path} has {len(rows)} rows with a {data.target}; 2 or more are needed.")
        return replace(data, name=table.path.stem, train=rows, validation=None, test=None, notes=())

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
