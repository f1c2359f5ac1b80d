"""Forecasting: the next value of a series from the rows before it, beside the naive forecast that nothing changes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from limen.errors import DataError
from limen.lab.data import Division
from limen.lab.records import Series, Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.numbers import declared
from limen.lab.tasks.numbers.data import NumberData
from limen.lab.tasks.numbers.task import NumericTask, doubled, predicted
from limen.lab.tasks.numbers.time_series import load_time_series
from limen.lab.training import transfer

STEPS = 500
"""The last so many steps of the test span are drawn in the report."""


class Forecasting(declared.Forecasting, NumericTask):
    """A CSV file with a column of times, split by time."""

    def load(self, settings: StudySettings) -> NumberData:
        """Windows of the file."""
        assert settings.target is not None
        return load_time_series(
            settings.data,
            settings.target,
            Division.of(settings),
            time=settings.time,
            window=settings.window,
            drop=settings.drop,
        )

    def other(self, data: NumberData, settings: StudySettings) -> NumberData:
        """Every window, of the same columns in the same order."""
        found = self.read(transfer.settings_for_other(data, settings))
        for lacking, kept, has in ((data, found, "lacks"), (found, data, "has")):
            odd = [name for name in lacking.names if name not in kept.names]
            if odd:
                raise DataError(
                    f"{found.name} {has} the column {', '.join(map(repr, odd))}; the columns of numbers must be those "
                    f"of {data.name}, {', '.join(map(repr, data.names))}. --drop leaves columns out of both."
                )
        order = [found.names.index(name) for name in data.names]
        whole = transfer.every(found)
        whole = replace(whole, inputs=whole.inputs[:, :, order])
        return replace(data, name=found.name, train=whole, validation=None, test=None, notes=found.notes)

    def answer(self, outputs: Tensor, targets: Tensor, data: NumberData) -> tuple[Tensor, Tensor]:
        """The forecast value and the one that came: the last value and the change."""
        change, unit, last = doubled(targets).unbind(1)
        return last + doubled(outputs[:, 0]) * unit, last + change * unit

    def reference_metrics(self, data: NumberData) -> dict[str, float]:
        """The metrics of forecasting that nothing changes."""
        targets = data.tested.targets
        predictions, truth = self.answer(torch.zeros(len(targets), 1), targets, data)
        return {name: float(metric(predictions, truth)) for name, metric in self.meters(data).items()}

    def show(self, network: nn.Module, data: NumberData, settings: StudySettings) -> Shown:
        """The forecast over the test span."""
        outputs = predicted(network, data, settings)[:, None]
        forecast, truth = self.answer(outputs, data.tested.targets, data)
        return Series(
            quantity=data.target,
            times=data.tested.times[-STEPS:],
            true=tuple(truth[-STEPS:].tolist()),
            predicted=tuple(forecast[-STEPS:].tolist()),
        )
