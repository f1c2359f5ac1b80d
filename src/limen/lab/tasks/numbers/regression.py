"""Regression: a number from the other columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limen.lab.data import TaskData
from limen.lab.records import Scatter, Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.numbers.data import NumberData
from limen.lab.tasks.numbers.tabular import load_tabular
from limen.lab.tasks.numbers.task import NumericTask, numbers, predicted

POINTS = 400
"""Test examples drawn in the report."""


class DNN(nn.Module):
    """Three hidden layers of 64 units."""

    WIDTHS = (64, 64, 64)

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in self.WIDTHS:
            layers += [nn.Linear(in_features, width), nn.ReLU()]
            in_features = width
        self.layers = nn.Sequential(*layers, nn.Linear(in_features, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Predictions, (N, out_features), of rows (N, in_features)."""
        return self.layers(x)


class Regression(NumericTask):
    """A CSV file with a target column, its rows divided at random."""

    name = "regression"
    about = "a number from the other columns of a CSV file with a heading (--target COLUMN)"
    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"dnn": DNN}
    defaults: ClassVar[Mapping[str, Any]] = {"network": "dnn", "batch_size": 64, "eval_batch_size": 1000}
    options = frozenset({"target"})

    def load(self, settings: StudySettings) -> NumberData:
        """Rows of the file."""
        assert settings.target is not None
        return load_tabular(
            settings.data,
            settings.target,
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
            seed=settings.split_seed,
            with_validation=not settings.test_chooses,
            limit_train=settings.limit_train,
            limit_test=settings.limit_test,
        )

    def show(self, network: nn.Module, data: TaskData, settings: StudySettings) -> Shown:
        """Predicted against true."""
        table = numbers(data)
        chosen = torch.linspace(0, len(table.test) - 1, min(POINTS, len(table.test))).long()
        centre, targets = table.centre, table.test.targets
        answers, truth = self.answer(predicted(network, table, settings)[:, None], targets, data)
        return Scatter(
            quantity=table.target,
            true=tuple((truth[chosen] + centre).tolist()),
            predicted=tuple((answers[chosen] + centre).tolist()),
        )
