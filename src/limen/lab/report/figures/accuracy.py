"""Mean and 95 % interval of each activation, with every seed as a dot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.metric import Metric
from limen.lab.numerals import MISSING, fixed
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import keep_within, shown_bounds
from limen.lab.report.figures.palette import BASELINE, INK, PAPER, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.numbers import Numbers
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
    spread: tuple[float, ...]
    """Lowest, quartiles and highest of many seeds, in the place of each."""
    look: Look


def intervals(study: Contents) -> Picture | None:
    """Draw the interval figure, or nothing when no run finished."""
    lines, title = _lines(study), study.metric.heading
    if not any(math.isfinite(line.mean) for line in lines):
        return None
    label = f"{title} of each activation: " + "; ".join(f"{line.name} {line.said}" for line in lines)
    svg = draw((WIDTH, 46 + ROW * len(lines)), "accuracy-", label, lambda figure: _paint(figure, lines, study.metric))
    seeds = "thin bar: the middle half of the seeds, and from the lowest to the highest"
    seeds = seeds if study.many else "small circles: single seeds"
    said = f"Dot and bar: mean and 95 % interval (Student’s t); {seeds}; dashed line: mean of the baseline."
    return Picture(svg, said, _numbers(study, lines))


def _numbers(study: Contents, lines: Sequence[_Line]) -> Numbers:
    """The means with their intervals, and the single seeds, or of many their quartiles."""
    of = {row.activation: row for row in study.summary}
    seeds = "Lowest, quartiles, highest" if study.many else "Single seeds"
    rows = []
    for line in lines:
        row = of[line.name]
        each = ", ".join(fixed(value) for value in line.spread or line.seeds) or MISSING
        span = study.metric.span(row.low, row.high, beside=row.mean).strip(MISSING)
        rows.append((line.name, ((line.said, span), (each, ""))))
    return Numbers(("Activation", study.metric.heading, seeds), tuple(rows))


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
            seeds=() if study.many else _seeds(study, row.activation, metric),
            spread=_spread(_seeds(study, row.activation, metric)) if study.many else (),
            look=found[row.activation],
        )
        for row in study.summary
        if row.activation in study.drawn or row.activation not in study.settings.activations
    ]


def _spread(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(np.quantile(values, (0, 0.25, 0.75, 1)).tolist()) if values else ()


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
    if line.spread:
        lowest, low, high, highest = line.spread
        axes.plot([lowest, highest], [y + 0.27] * 2, color=colour, linewidth=1, alpha=0.6, clip_on=False)
        axes.plot([low, high], [y + 0.27] * 2, color=colour, linewidth=4, alpha=0.45, clip_on=False)
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
