"""What each activation costs: time and peak memory of a training step, as multiples of torch's ReLU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.metric import NOT_NEGATIVE
from limen.lab.numerals import MISSING, between, fixed, with_unit
from limen.lab.records import TORCHS_RELU, CostRow
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import keep_within
from limen.lab.report.figures.palette import INK, MUTED, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.numbers import Numbers
from limen.lab.report.wording import short

ROW = 34
WIDTH = 440


@dataclass(frozen=True)
class Bar:
    """One row: its time with its quartiles, and its memory, both as multiples."""

    name: str
    look: Look
    time: float
    low: float
    high: float
    memory: float

    @property
    def texts(self) -> tuple[str, str]:
        """Both in words."""
        return with_unit(fixed(self.time), "×"), with_unit(fixed(self.memory), "×")


def costs(study: Contents) -> Picture | None:
    """Draw time and memory side by side, each only where something was measured."""
    shown = [r for r in study.costs if r.activation in study.drawn or r.activation not in study.settings.activations]
    order = [row.activation for row in study.summary]
    shown.sort(key=lambda r: order.index(r.activation) if r.activation in order else len(order))
    least = _reference(shown, study.settings.baseline)
    styles = looks((*study.activations, *(row.activation for row in study.costs)), study.settings.baseline)
    bars = [
        Bar(r.activation, styles[r.activation], r.ratio, r.ratio_low, r.ratio_high,
            r.peak_memory_mb / least.peak_memory_mb if least and least.peak_memory_mb else math.nan)
        for r in shown
    ]  # fmt: skip
    timed, weighed = (any(map(math.isfinite, values)) for values in ([b.time for b in bars], [b.memory for b in bars]))
    if not timed and not weighed:
        return None
    label = "Cost of a training step: " + "; ".join(f"{bar.name} time {bar.texts[0]}" for bar in bars)
    svg = draw((WIDTH, 46 + ROW * len(bars)), "cost-", label, lambda figure: _paint(figure, bars, timed, weighed))
    memory = f", and peak memory of its live tensors over that of {least.activation}" if weighed and least else ""
    caption = f"What a training step takes: its time over that of torch.nn.ReLU, median and quartiles{memory}."
    return Picture(svg, caption, _numbers(bars))


def _reference(rows: Sequence[CostRow], baseline: str) -> CostRow | None:
    """What memory is relative to: torch's own ReLU, or the baseline in a study that did not time it."""
    of = {row.activation: row for row in rows if math.isfinite(row.peak_memory_mb)}
    return of.get(TORCHS_RELU, of.get(baseline))


def _numbers(bars: Sequence[Bar]) -> Numbers:
    rows = tuple(
        (
            bar.name,
            ((fixed(bar.time), between(fixed(bar.low), fixed(bar.high)).strip(MISSING)), (fixed(bar.memory), "")),
        )
        for bar in bars
    )
    return Numbers(("Activation", "Time ×", "Memory ×"), rows)


def _paint(figure: Figure, bars: Sequence[Bar], timed: bool, weighed: bool) -> None:
    names = [short(bar.name, 18) for bar in bars]
    left, room = 14 + 7.3 * max(map(len, names)), 56
    panels = [*(["time"] if timed else []), *(["memory"] if weighed else [])]
    width = (WIDTH - left) / len(panels)
    for place, what in enumerate(panels):
        begin = left + place * width
        axes = panel(figure, begin, 40, WIDTH - begin - width + room, 6)
        _paint_bars(axes, bars, what)
        axes.set_yticks(range(len(bars)), names if place == 0 else [""] * len(bars), color=INK)


def _paint_bars(axes: Axes, bars: Sequence[Bar], what: str) -> None:
    for y, bar in enumerate(bars):
        time = what == "time"
        ends = (bar.low, bar.high) if time else (math.nan, math.nan)
        _paint_bar(axes, y, bar.look, bar.time if time else bar.memory, ends, bar.texts[0 if time else 1])
    axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("Step time" if what == "time" else "Peak memory")
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=4)
    keep_within(axes.xaxis, NOT_NEGATIVE)
    axes.grid(axis="x")


def _paint_bar(axes: Axes, y: float, look: Look, value: float, ends: tuple[float, float], text: str) -> None:
    if math.isfinite(value):
        axes.barh(y, value, height=0.5, color=look.colour, linewidth=0)
    if all(map(math.isfinite, ends)):
        axes.plot(ends, [y, y], color=INK, linewidth=1.2)
        axes.plot(ends, [y, y], "|", color=INK, markersize=7)
    color = INK if math.isfinite(value) else MUTED
    axes.annotate(text, (1, y), (8, 0), ("axes fraction", "data"), "offset pixels", va="center_baseline", color=color)
