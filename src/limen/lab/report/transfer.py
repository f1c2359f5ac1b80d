"""The table of other data that the networks were tested on too, beside their own test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from limen.lab.metric import Metric
from limen.lab.report.contents import Contents

Cell = tuple[str, str]
"""A mean over seeds and its interval."""


@dataclass(frozen=True)
class TransferTable:
    """A row an activation."""

    name: str
    """Of the other data."""
    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def transfer_table(study: Contents) -> TransferTable | None:
    """The measure on both sets, what is lost, the difference from the baseline there, and the other metrics there."""
    measure, name = study.task.measure, study.data.transfer_name
    known = {stored for run in study.runs for stored in run.metrics}
    if measure.on_transfer not in known:
        return None
    others = [metric for metric in study.task.metrics if metric is not measure and metric.on_transfer in known]
    headings = (
        measure.heading,
        f"{measure.axis}, {name}",
        f"{name} − own test set",
        f"minus {study.settings.baseline}, {name}",
        *(f"{metric.axis}, {name}" for metric in others),
    )
    rows = tuple((row.activation, _cells(study, row.activation, measure, others)) for row in study.summary)
    return TransferTable(name, headings, rows)


def _cells(study: Contents, activation: str, measure: Metric, others: list[Metric]) -> tuple[Cell, ...]:
    own, there = (_by_seed(study, activation, name) for name in (measure.on_test, measure.on_transfer))
    baseline = study.settings.against(activation) if activation in study.settings.compared else activation
    beside = {} if baseline == activation else _by_seed(study, baseline, measure.on_transfer)
    return (
        _mean(measure, own),
        _mean(measure, there),
        _difference(measure, there, own),
        _difference(measure, there, beside),
        *(_mean(metric, _by_seed(study, activation, metric.on_transfer)) for metric in others),
    )


def _by_seed(study: Contents, activation: str, name: str) -> dict[int, float]:
    return {run.seed: run.metrics[name] for run in study.finished(activation) if name in run.metrics}


def _mean(metric: Metric, values: Mapping[int, float]) -> Cell:
    found = metric.interval([*values.values()])
    return metric.value(found.mean), metric.span(found.low, found.high)


def _difference(metric: Metric, values: Mapping[int, float], others: Mapping[int, float]) -> Cell:
    """Paired by seed."""
    found = metric.difference_interval([values[seed] - others[seed] for seed in values if seed in others])
    return metric.difference(found.mean), metric.difference_span(found.low, found.high)
