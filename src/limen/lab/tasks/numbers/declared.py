"""Regression and forecasting, as far as it is known without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from limen.errors import SpecError
from limen.lab.data.named import check_table
from limen.lab.declaration import Declaration
from limen.lab.metric import NOT_NEGATIVE, Metric
from limen.lab.networks.catalogue import Catalogue

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings

HERE = "limen.lab.tasks.numbers"


class NumericTask(Declaration):
    """One number for each example; RMSE decides, and lower is better."""

    measure = Metric("rmse", "RMSE", higher_is_better=False, bounds=NOT_NEGATIVE)
    metrics = (
        measure,
        Metric("mae", "MAE", higher_is_better=False, bounds=NOT_NEGATIVE),
        Metric("r2", "R²", bounds=(-math.inf, 1.0), always=False),
    )

    def check(self, settings: StudySettings) -> None:
        """A target is needed."""
        if not settings.target:
            raise SpecError(f"--task {self.name} needs --target, the column of {settings.data} to predict.")

    def look(self, settings: StudySettings) -> None:
        """A CSV file."""
        check_table(settings.data)


class Regression(NumericTask):
    """A CSV file with a target column, its rows divided at random."""

    name = "regression"
    about = "a number from the other columns of a CSV file with a heading (--target COLUMN)"
    networks = Catalogue(
        {
            "dnn": f"{HERE}.dense:DNN",
        }
    )
    defaults: ClassVar[Mapping[str, Any]] = {"network": "dnn", "batch_size": 64, "eval_batch_size": 1000}
    options = frozenset({"test_data", "target", "drop"})


class Forecasting(NumericTask):
    """A CSV file with a column of times, split by time."""

    name = "forecasting"
    about = "the next value of a column of a CSV file in time (--target COLUMN, --time COLUMN)"
    networks = Catalogue(
        {
            "rnn": f"{HERE}.recurrent:RNN",
            "lstm": f"{HERE}.recurrent:LSTM",
        }
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": "rnn",
        "batch_size": 64,
        "eval_batch_size": 1000,
        "window": 20,
    }
    options = frozenset({"test_data", "target", "time", "window", "drop"})
    reference = "last value"
