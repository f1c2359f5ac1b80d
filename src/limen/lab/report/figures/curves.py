"""Loss and accuracy over the epochs, on the training images and on the held-out ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from limen.lab.metric import LOSS, Metric
from limen.lab.numerals import MISSING, between, significant
from limen.lab.records import RunRecord
from limen.lab.report.condensing import Columns, columns
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import bounds_of, count_epochs, keep_within, shown_bounds
from limen.lab.report.figures.palette import Look, looks
from limen.lab.report.figures.svg import Picture, draw, frame, mark, panel
from limen.lab.report.numbers import Numbers, evenly
from limen.lab.report.wording import counted

SIZE = (500, 290)
Values = np.ndarray


@dataclass(frozen=True)
class Line:
    """One activation in one panel."""

    name: str
    series: int
    """Its place among all activations."""
    look: Look
    epochs: Values
    """(n,)"""
    values: Values
    """A row a seed (seeds, n)."""


def curves(study: Contents) -> list[Picture]:
    """Draw the four panels, or none when no finished run kept its epochs."""
    heldout = study.heldout.capitalize()
    measure = study.task.measure
    trained = study.task.train_score or measure
    of_trained, of_measure = trained.shown(1.0), measure.shown(1.0)
    panels: tuple[tuple[str, Metric, Callable[[Columns], Values]], ...] = (
        ("Training loss", LOSS, lambda rows: rows.train_loss),
        (f"{heldout} loss", LOSS, lambda rows: rows.heldout_loss),
        (f"Training {trained.axis}", trained, lambda rows: of_trained * rows.train_score),
        (f"{heldout} {measure.axis}", measure, lambda rows: of_measure * rows.heldout_score),
    )
    styles = looks(study.activations, study.settings.baseline)
    tables = {name: _tables(study.finished(name), [read for *_, read in panels]) for name in study.drawn}
    places = {name: place for place, name in enumerate(study.activations)}
    pictures = []
    for index, (title, metric, _) in enumerate(panels):
        lines = [Line(name, places[name], styles[name], *table[index]) for name, table in tables.items()]
        lines = [line for line in lines if np.isfinite(line.values).any()]
        if lines:
            svg = _panel(title, f"curve{index}-", metric, lines)
            pictures.append(Picture(svg, title, _numbers(lines)))
    return pictures


def _tables(runs: Sequence[RunRecord], reads: Sequence[Callable[[Columns], Values]]) -> list[tuple[Values, Values]]:
    """Line the runs up by epoch, once for each panel; an epoch that a run does not have is NaN."""
    noted = [columns(run.curves) for run in runs]
    epochs = np.unique(np.concatenate([one.epoch for one in noted])) if noted else np.empty(0)
    values = np.full((len(reads), len(runs), len(epochs)), math.nan)
    for seed, one in enumerate(noted):
        places = np.searchsorted(epochs, one.epoch)
        for one_panel, read in zip(values, reads, strict=True):
            one_panel[seed, places] = read(one)
    values[~np.isfinite(values)] = math.nan
    return [_known(epochs.astype(int), one_panel) for one_panel in values]


def _known(epochs: Values, values: Values) -> tuple[Values, Values]:
    """The epochs of which any run has a number."""
    kept = np.isfinite(values).any(axis=0)
    return epochs[kept], values[:, kept]


def _panel(title: str, prefix: str, metric: Metric, lines: Sequence[Line]) -> Markup:
    label = f"{title} over the epochs, {counted(len(lines), 'activation')}"
    return draw(SIZE, prefix, label, lambda figure: _paint(figure, metric, lines))


def _numbers(lines: Sequence[Line]) -> Numbers:
    """The mean over seeds by epoch, with the range."""
    epochs = np.unique(np.concatenate([line.epochs for line in lines]))
    columns = [_column(line) for line in lines]
    rows = tuple(
        (str(epoch), tuple(column.get(epoch, (MISSING, "")) for column in columns))
        for epoch in epochs[[*evenly(len(epochs))]].tolist()
    )
    return Numbers(("Epoch", *(line.name for line in lines)), rows, tuple(line.series for line in lines))


def _column(line: Line) -> dict[int, tuple[str, str]]:
    """By epoch the mean, and the range of several seeds."""
    ends = np.nanmean(line.values, 0), np.nanmin(line.values, 0), np.nanmax(line.values, 0)
    found = {}
    for epoch, mean, low, high in zip(line.epochs.tolist(), *(end.tolist() for end in ends), strict=True):
        span = between(significant(low, 4), significant(high, 4)) if len(line.values) > 1 else ""
        found[epoch] = (significant(mean, 4), span)
    return found


def _paint(figure: Figure, metric: Metric, lines: Sequence[Line]) -> None:
    axes = panel(figure, 50, 40, 12, 8)
    for line in lines:
        look, epochs, values = line.look, line.epochs, line.values
        mean, low, high = np.nanmean(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        band = axes.fill_between(epochs, low, high, color=look.colour, alpha=0.13, linewidth=0)
        marker = "o" if len(epochs) == 1 else ""  # a line of one point is invisible
        drawn: dict[str, Any] = {"color": look.colour, "linestyle": look.linestyle}
        (curve,) = axes.plot(
            epochs, mean, marker=marker, markersize=5, clip_on=False, **drawn
        )  # axes end where values do
        for part in (band, curve):
            mark(part, series=str(line.series))
    count_epochs(axes, np.concatenate([line.epochs for line in lines]), most=8)
    values = np.concatenate([line.values.ravel() for line in lines])
    values = values[np.isfinite(values)]
    _scale(axes, values)
    keep_within(axes.yaxis, bounds_of(values) if metric is LOSS else shown_bounds(metric))
    axes.grid(axis="y")
    frame(axes)


def _scale(axes: Axes, values: Values) -> None:
    """Use a logarithmic axis for a loss that falls by more than a factor of thirty."""
    if values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < 1000 * values.min() else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
