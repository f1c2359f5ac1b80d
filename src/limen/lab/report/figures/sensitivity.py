"""The held-out score of every trial against its learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from limen.lab.metric import LOSS, Metric
from limen.lab.records import TrialRow
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import bounds_of, keep_within, shown_bounds
from limen.lab.report.figures.palette import BASELINE, PAPER, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import counted

SIZE = (680, 320)
CAPTION = (
    "A line an activation; circles: trials; full circle: the activation’s own rate; cross below: a failed trial; "
    "dashed: the shared rate."
)


def sensitivity(study: Contents, metric: Metric) -> Picture | None:
    """Draw the trials, or nothing where none has a score."""
    if not any(math.isfinite(row.score) for row in study.trials):
        return None
    of = {name: [row for row in study.trials if row.activation == name] for name in study.settings.activations}
    styles = looks(study.activations, study.settings.baseline)
    tried = {name: (styles[name], rows) for name, rows in of.items() if rows}
    label = f"Validation {metric.title} against the learning rate, {counted(len(tried), 'activation')}"
    alone = study.settings.tune == ("lr",)

    def paint(figure: Figure) -> None:
        axes = panel(figure, 52, 44, 16, 10)
        axes.set_xscale("log")
        for look, rows in tried.values():
            _paint_line(axes, look, rows, metric, alone=alone)
        axes.axvline(study.settings.learning_rate, color=BASELINE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        _label(axes, metric, [row.score for row in study.trials if math.isfinite(row.score)])

    return Picture(draw(SIZE, "sensitivity-", label, paint), CAPTION)


def _paint_line(axes: Axes, look: Look, rows: Sequence[TrialRow], metric: Metric, *, alone: bool) -> None:
    """Trials that differ in the learning rate alone are joined; others stand beside."""
    known = sorted((row for row in rows if math.isfinite(row.score)), key=lambda row: row.learning_rate)
    joined = [row for row in known if alone or row.common]
    places = [(row.learning_rate, metric.shown(row.score)) for row in joined]
    axes.plot(*_columns(places), color=look.colour, linestyle=look.linestyle)
    for row in known:
        fill = look.colour if row.chosen else PAPER
        size = 8 if row.chosen else 4.5
        axes.plot(
            [row.learning_rate], [metric.shown(row.score)], "o",
            color=look.colour, markerfacecolor=fill, markersize=size, clip_on=False, zorder=3 + row.chosen,
        )  # fmt: skip
    failed = [row.learning_rate for row in rows if not math.isfinite(row.score)]
    axes.plot(failed, [0] * len(failed), "x", color=look.colour, transform=axes.get_xaxis_transform(), clip_on=False)


def _columns(places: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in places], [y for _, y in places]


def _label(axes: Axes, metric: Metric, scores: Sequence[float]) -> None:
    axes.set_xlabel("Learning rate")
    axes.set_ylabel(f"Validation {metric.axis}")
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    keep_within(axes.yaxis, bounds_of(scores) if metric is LOSS else shown_bounds(metric))
    axes.grid(axis="y")
