"""Mean and 95 % interval of each activation, with every seed as a dot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.records import SummaryRow
from limen.lab.report.contents import Contents
from limen.lab.report.figures.palette import BASELINE, INK, PAPER, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import Scale, short

ROW = 40
WIDTH = 680


@dataclass(frozen=True)
class _Line:
    """What one row of the figure shows, already scaled to the unit of the axis."""

    row: SummaryRow
    scale: Scale
    seeds: tuple[float, ...]
    look: Look

    @property
    def mean(self) -> float:
        return self.row.mean * self.scale.factor

    @property
    def interval(self) -> tuple[float, float]:
        return self.row.low * self.scale.factor, self.row.high * self.scale.factor


def intervals(study: Contents) -> Picture | None:
    """Draw the interval figure, or nothing when no run finished."""
    lines = _lines(study)
    if not any(math.isfinite(line.mean) for line in lines):
        return None
    scale = lines[0].scale
    label = f"{scale.title} of each activation: " + "; ".join(_said(line) for line in lines)
    svg = draw((WIDTH, 46 + ROW * len(lines)), "accuracy-", label, lambda figure: _paint(figure, lines))
    seeds = "small circles: single seeds; dashed line: mean of the baseline"
    return Picture(svg, f"Dot and bar: mean and 95 % interval (Student’s t); {seeds}.")


def _lines(study: Contents) -> list[_Line]:
    found = looks(study.activations, study.settings.baseline)
    metric = study.summary[0].metric if study.summary else ""
    return [
        _Line(row, Scale(metric), _seeds(study, row), found[row.activation])
        for row in study.summary
        if row.metric == metric
    ]


def _seeds(study: Contents, row: SummaryRow) -> tuple[float, ...]:
    values = (run.metrics.get(row.metric, math.nan) for run in study.finished(row.activation))
    return tuple(value * Scale(row.metric).factor for value in values if math.isfinite(value))


def _said(line: _Line) -> str:
    return f"{line.row.activation} {line.scale.value(line.row.mean)}"


def _paint(figure: Figure, lines: Sequence[_Line]) -> None:
    names = [short(line.row.activation) for line in lines]
    axes = panel(figure, 18 + 6.6 * max(map(len, names)), 40, 66, 6)
    for y, line in enumerate(lines):
        _paint_line(axes, y, line)
    _paint_baseline(axes, lines)
    axes.set_yticks(range(len(lines)), names, color=INK)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(lines[0].scale.title)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=7)


def _paint_line(axes: Axes, y: float, line: _Line) -> None:
    low, high = line.interval
    colour = line.look.colour
    if math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [y, y], color=colour, linewidth=2.6)
    axes.plot(line.seeds, [y + 0.27] * len(line.seeds), "o", markersize=4.2, color=colour, markerfacecolor=PAPER)
    if math.isfinite(line.mean):
        axes.plot([line.mean], [y], "o", markersize=8.5, color=colour, markeredgecolor=PAPER)
    label = line.scale.value(line.row.mean)
    axes.annotate(label, (1, y), (10, 0), ("axes fraction", "data"), "offset pixels", va="center_baseline", color=INK)


def _paint_baseline(axes: Axes, lines: Sequence[_Line]) -> None:
    for line in lines:
        if line.row.activation == line.row.baseline and math.isfinite(line.mean):
            axes.axvline(line.mean, color=BASELINE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            return
