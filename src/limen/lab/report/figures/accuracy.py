"""Mean and 95 % interval of each activation, with every seed as a dot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.metric import Metric
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import keep_within, shown_bounds
from limen.lab.report.figures.palette import BASELINE, INK, PAPER, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import short

ROW = 40
WIDTH = 680


@dataclass(frozen=True)
class _Line:
    """What one row of the figure shows, already scaled to the unit of the axis."""

    name: str
    is_baseline: bool
    mean: float
    low: float
    high: float
    said: str
    seeds: tuple[float, ...]
    look: Look


def intervals(study: Contents) -> Picture | None:
    """Draw the interval figure, or nothing when no run finished."""
    lines, title = _lines(study), study.metric.heading
    if not any(math.isfinite(line.mean) for line in lines):
        return None
    label = f"{title} of each activation: " + "; ".join(f"{line.name} {line.said}" for line in lines)
    svg = draw((WIDTH, 46 + ROW * len(lines)), "accuracy-", label, lambda figure: _paint(figure, lines, study.metric))
    seeds = "small circles: single seeds; dashed line: mean of the baseline"
    return Picture(svg, f"Dot and bar: mean and 95 % interval (Student’s t); {seeds}.")


def _lines(study: Contents) -> list[_Line]:
    found, metric = looks(study.activations, study.settings.baseline), study.metric
    return [
        _Line(
            name=row.activation,
            is_baseline=row.activation == row.baseline,
            mean=metric.shown(row.mean),
            low=metric.shown(row.low),
            high=metric.shown(row.high),
            said=metric.value(row.mean),
            seeds=_seeds(study, row.activation, metric),
            look=found[row.activation],
        )
        for row in study.summary
    ]


def _seeds(study: Contents, activation: str, metric: Metric) -> tuple[float, ...]:
    values = (run.metrics.get(metric.on_test, math.nan) for run in study.finished(activation))
    return tuple(metric.shown(value) for value in values if math.isfinite(value))


def _paint(figure: Figure, lines: Sequence[_Line], metric: Metric) -> None:
    names = [short(line.name) for line in lines]
    axes = panel(figure, 18 + 6.6 * max(map(len, names)), 40, 66, 6)
    for y, line in enumerate(lines):
        _paint_line(axes, y, line)
    _paint_baseline(axes, lines)
    axes.set_yticks(range(len(lines)), names, color=INK)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(metric.heading)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=7)
    keep_within(axes.xaxis, shown_bounds(metric))


def _paint_line(axes: Axes, y: float, line: _Line) -> None:
    colour = line.look.colour
    if math.isfinite(line.low) and math.isfinite(line.high):
        axes.plot([line.low, line.high], [y, y], color=colour, linewidth=2.6, clip_on=False)
    hollow: dict[str, Any] = {"markersize": 4.2, "color": colour, "markerfacecolor": PAPER, "clip_on": False}
    axes.plot(line.seeds, [y + 0.27] * len(line.seeds), "o", **hollow)
    if math.isfinite(line.mean):
        axes.plot([line.mean], [y], "o", markersize=8.5, color=colour, markeredgecolor=PAPER, clip_on=False)
    place, coordinates = (1, y), ("axes fraction", "data")
    axes.annotate(line.said, place, (10, 0), coordinates, "offset pixels", va="center_baseline", color=INK)


def _paint_baseline(axes: Axes, lines: Sequence[_Line]) -> None:
    for line in lines:
        if line.is_baseline and math.isfinite(line.mean):
            axes.axvline(line.mean, color=BASELINE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            return
