"""The held-out score of every trial against its learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from limen.lab.metric import LOSS, Metric
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import bounds_of, keep_within, shown_bounds
from limen.lab.report.figures.palette import BASELINE, PAPER, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.tried import Tried, tried
from limen.lab.report.wording import counted

SIZE = (680, 320)
CAPTION = (
    "A line an activation; circles: trials; full circle: the activation’s own rate; cross below: a failed trial; "
    "dashed: the shared rate. Of a trial with several seeds the circle is at the mean, a dot at each."
)


def sensitivity(study: Contents, metric: Metric) -> Picture | None:
    """Draw the trials, or nothing where none has a score."""
    trials = tried(study.trials)
    if all(trial.failed for trial in trials):
        return None
    of = {name: [trial for trial in trials if trial.activation == name] for name in study.settings.activations}
    styles = looks(study.activations, study.settings.baseline)
    lines = {name: (styles[name], mine) for name, mine in of.items() if mine}
    label = f"Validation {metric.title} against the learning rate, {counted(len(lines), 'activation')}"
    alone = study.settings.tune == ("lr",)

    def paint(figure: Figure) -> None:
        axes = panel(figure, 52, 44, 16, 10)
        axes.set_xscale("log")
        for look, mine in lines.values():
            _paint_line(axes, look, mine, metric, alone=alone)
        axes.axvline(study.settings.learning_rate, color=BASELINE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        _label(axes, metric, [row.score for row in study.trials if math.isfinite(row.score)])

    return Picture(draw(SIZE, "sensitivity-", label, paint), CAPTION)


def _paint_line(axes: Axes, look: Look, trials: Sequence[Tried], metric: Metric, *, alone: bool) -> None:
    """Trials that differ in the learning rate alone are joined; others stand beside."""
    known = sorted((trial for trial in trials if not trial.failed), key=lambda trial: trial.learning_rate)
    joined = [trial for trial in known if alone or trial.common]
    places = [(trial.learning_rate, metric.shown(trial.score)) for trial in joined]
    axes.plot(*_columns(places), color=look.colour, linestyle=look.linestyle)
    for trial in known:
        fill = look.colour if trial.chosen else PAPER
        size = 8 if trial.chosen else 4.5
        axes.plot(
            [trial.learning_rate], [metric.shown(trial.score)], "o",
            color=look.colour, markerfacecolor=fill, markersize=size, clip_on=False, zorder=3 + trial.chosen,
        )  # fmt: skip
    several = [trial for trial in known if len(trial.scores) > 1]
    seeds = [(trial.learning_rate, metric.shown(score)) for trial in several for score in trial.scores]
    axes.plot(*_columns(seeds), ".", color=look.colour, markersize=3, clip_on=False)
    failed = [trial.learning_rate for trial in trials if trial.failed]
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
