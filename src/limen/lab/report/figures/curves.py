"""Loss and accuracy over the epochs, on the training images and on the held-out ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from limen.lab.metric import LOSS, Metric
from limen.lab.records import EpochRow, RunRecord
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import bounds_of, count_epochs, keep_within, shown_bounds
from limen.lab.report.figures.palette import Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import counted

SIZE = (500, 290)
Values = np.ndarray
Line = tuple[Look, Values, Values]
"""A look, the epochs (n,) and the values, a row a seed (seeds, n)."""


def curves(study: Contents) -> list[Picture]:
    """Draw the four panels, or none when no finished run kept its epochs."""
    heldout = study.heldout.capitalize()
    measure = study.task.measure
    trained = study.task.train_score or measure
    panels: tuple[tuple[str, Metric, Callable[[EpochRow], float]], ...] = (
        ("Training loss", LOSS, lambda row: row.train_loss),
        (f"{heldout} loss", LOSS, lambda row: row.heldout_loss),
        (f"Training {trained.axis}", trained, lambda row: trained.shown(row.train_score)),
        (f"{heldout} {measure.axis}", measure, lambda row: measure.shown(row.heldout_score)),
    )
    return [
        Picture(_panel(title, f"curve{index}-", metric, lines), title)
        for index, (title, metric, read) in enumerate(panels)
        if (lines := _lines(study, read))
    ]


def _lines(study: Contents, read: Callable[[EpochRow], float]) -> list[Line]:
    styles = looks(study.activations, study.settings.baseline)
    found = ((styles[name], *_table(study.finished(name), read)) for name in study.activations)
    return [line for line in found if np.isfinite(line[2]).any()]


def _table(runs: Sequence[RunRecord], read: Callable[[EpochRow], float]) -> tuple[Values, Values]:
    """Line the runs up by epoch; an epoch that a run does not have is NaN."""
    epochs = sorted({row.epoch for run in runs for row in run.curves})
    column = {epoch: index for index, epoch in enumerate(epochs)}
    values = np.full((len(runs), len(epochs)), math.nan)
    for seed, run in enumerate(runs):
        for row in run.curves:
            value = read(row)
            values[seed, column[row.epoch]] = value if math.isfinite(value) else math.nan
    kept = np.isfinite(values).any(axis=0)
    return np.array(epochs)[kept], values[:, kept]


def _panel(title: str, prefix: str, metric: Metric, lines: Sequence[Line]) -> Markup:
    label = f"{title} over the epochs, {counted(len(lines), 'activation')}"
    return draw(SIZE, prefix, label, lambda figure: _paint(figure, metric, lines))


def _paint(figure: Figure, metric: Metric, lines: Sequence[Line]) -> None:
    axes = panel(figure, 44, 40, 12, 8)
    for look, epochs, values in lines:
        mean, low, high = np.nanmean(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(epochs, low, high, color=look.colour, alpha=0.13, linewidth=0)
        marker = "o" if len(epochs) == 1 else ""  # a line of one point is invisible
        drawn: dict[str, Any] = {"color": look.colour, "linestyle": look.linestyle}
        axes.plot(epochs, mean, marker=marker, markersize=5, clip_on=False, **drawn)  # axes end where values do
    count_epochs(axes, np.concatenate([epochs for _, epochs, _ in lines]), most=8)
    values = np.concatenate([values.ravel() for _, _, values in lines])
    values = values[np.isfinite(values)]
    _scale(axes, values)
    keep_within(axes.yaxis, bounds_of(values) if metric is LOSS else shown_bounds(metric))
    axes.grid(axis="y")


def _scale(axes: Axes, values: Values) -> None:
    """Use a logarithmic axis for a loss that falls by more than a factor of thirty."""
    if values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < 1000 * values.min() else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
