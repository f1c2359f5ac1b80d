"""Tables of what was measured of every class: a row a class, a column an activation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from limen.lab.metric import Metric
from limen.lab.numerals import MISSING
from limen.lab.report.contents import Contents

Cell = tuple[str, str]
"""A mean over seeds and its interval."""


@dataclass(frozen=True)
class ClassTable:
    """One metric of every class."""

    caption: str
    activations: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]
    """A class, how much of it is tested, and what each activation reaches."""


def class_tables(study: Contents) -> list[ClassTable]:
    """One a metric that some run noted of some class."""
    known = {name for run in study.runs for name in run.metrics}
    return [
        _table(study, metric)
        for metric in study.task.by_class
        if any(metric.of_class(name).on_test in known for name in study.data.classes)
    ]


def _table(study: Contents, metric: Metric) -> ClassTable:
    activations = tuple(row.activation for row in study.summary)
    counted = study.data.counts.get("test", ())
    rows = [
        (
            name,
            str(counted[place]) if counted else "",
            tuple(_cell(study, activation, metric.of_class(name)) for activation in activations),
        )
        for place, name in enumerate(study.data.classes)
    ]
    return ClassTable(metric.heading, activations, tuple(rows))


def _cell(study: Contents, activation: str, metric: Metric) -> Cell:
    found = metric.interval(_known(run.metrics.get(metric.on_test, math.nan) for run in study.finished(activation)))
    span = metric.span(found.low, found.high)
    return metric.value(found.mean), "" if span == MISSING else span


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
