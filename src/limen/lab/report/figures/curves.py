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
from limen.lab.records import RunRecord
from limen.lab.report.condensing import Columns, columns
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
    of_trained, of_measure = trained.shown(1.0), measure.shown(1.0)
    panels: tuple[tuple[str, Metric, Callable[[Columns], Values]], ...] = (
        ("Training loss", LOSS, lambda rows: rows.train_loss),
        (f"{heldout} loss", LOSS, lambda rows: rows.heldout_loss),
        (f"Training {trained.axis}", trained, lambda rows: of_trained * rows.train_score),
        (f"{heldout} {measure.axis}", measure, lambda rows: of_measure * rows.heldout_score),
    )
    styles = looks(study.activations, study.settings.baseline)
    tables = {name: _tables(study.finished(name), [read for *_, read in panels]) for name in study.drawn}
    pictures = []
    for index, (title, metric, _) in enumerate(panels):
        lines = [(styles[name], *table[index]) for name, table in tables.items()]
        lines = [line for line in lines if np.isfinite(line[2]).any()]
        if lines:
            pictures.append(Picture(_panel(title, f"curve{index}-", metric, lines), title))
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
