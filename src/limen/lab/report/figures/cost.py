"""What each activation costs: time of a training step relative to torch's ReLU, and peak memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.metric import NOT_NEGATIVE
from limen.lab.numerals import fixed, significant, with_unit
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import keep_within
from limen.lab.report.figures.palette import INK, MUTED, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import short

ROW = 34
WIDTH = 500


@dataclass(frozen=True)
class Bar:
    """One bar: its length, the text beside it and, where known, its quartiles."""

    name: str
    look: Look
    value: float
    text: str
    low: float = math.nan
    high: float = math.nan


def costs(study: Contents) -> list[Picture]:
    """Draw time and memory, each only where something was measured."""
    styles = looks((*study.activations, *(row.activation for row in study.costs)), study.settings.baseline)
    shown = [r for r in study.costs if r.activation in study.drawn or r.activation not in study.settings.activations]
    times = [
        Bar(r.activation, styles[r.activation], r.ratio, with_unit(fixed(r.ratio), "×"), r.ratio_low, r.ratio_high)
        for r in shown
    ]
    memory = [
        Bar(r.activation, styles[r.activation], r.peak_memory_mb, with_unit(significant(r.peak_memory_mb), " MB"))
        for r in shown
    ]
    found = [
        _picture("time-", times, "Step time relative to torch.nn.ReLU", "median and quartiles", 1),
        _picture("memory-", memory, "Peak memory of a step", "live tensors, 10⁶ bytes", None),
    ]
    return [picture for picture in found if picture]


def _picture(prefix: str, bars: Sequence[Bar], title: str, note: str, mark: float | None) -> Picture | None:
    if not any(math.isfinite(bar.value) for bar in bars):
        return None
    label = f"{title}: " + "; ".join(f"{bar.name} {bar.text}" for bar in bars)
    svg = draw((WIDTH, 30 + ROW * len(bars)), prefix, label, lambda figure: _paint(figure, bars, mark))
    return Picture(svg, f"{title}: {note}.")


def _paint(figure: Figure, bars: Sequence[Bar], mark: float | None) -> None:
    names = [short(bar.name, 18) for bar in bars]
    axes = panel(figure, 14 + 7.3 * max(map(len, names)), 26, 70, 4)
    for y, bar in enumerate(bars):
        _paint_bar(axes, y, bar)
    if mark is not None:
        axes.axvline(mark, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(bars)), names, color=INK)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    keep_within(axes.xaxis, NOT_NEGATIVE)
    axes.grid(axis="x")


def _paint_bar(axes: Axes, y: float, bar: Bar) -> None:
    if math.isfinite(bar.value):
        axes.barh(y, bar.value, height=0.5, color=bar.look.colour, linewidth=0)
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        axes.plot([bar.low, bar.high], [y, y], color=INK, linewidth=1.2)
        axes.plot([bar.low, bar.high], [y, y], "|", color=INK, markersize=7)
    color = INK if math.isfinite(bar.value) else MUTED
    axes.annotate(
        bar.text, (1, y), (10, 0), ("axes fraction", "data"), "offset pixels", va="center_baseline", color=color
    )
