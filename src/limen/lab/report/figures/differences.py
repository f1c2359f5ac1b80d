"""The difference of each activation to the baseline, with its interval, over what cannot matter or be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.metric import Metric
from limen.lab.numerals import MISSING, with_span
from limen.lab.records import SummaryRow
from limen.lab.report.contents import Contents
from limen.lab.report.figures.axes import keep_within
from limen.lab.report.figures.palette import BASELINE, INK, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.numbers import Numbers
from limen.lab.report.wording import short
from limen.lab.statistics import of_differences, word_of

ROW = 34
WIDTH = 480
SIGNS = {"better": "▲ ", "worse": "▼ "}
MARGIN = "differences smaller than the margin of {}, which do not matter"
UNSEEN = "true differences that so many seeds show in fewer than 80 of 100 studies"


@dataclass(frozen=True)
class _Line:
    """One row of the figure, in the unit of the axis."""

    name: str
    look: Look
    difference: float
    low: float
    high: float
    shaded: float
    """To either side of nothing."""
    said: str
    verdict: str


def differences(study: Contents) -> Picture | None:
    """Draw each difference with its interval; nothing where there is none."""
    lines, metric = [*_lines(study)], study.metric
    if not any(math.isfinite(line.difference) and line.name != study.settings.baseline for line in lines):
        return None
    title = f"Difference of {metric.tested} from {study.settings.baseline}"
    label = f"{title}: " + "; ".join(f"{line.name} {line.said}, {line.verdict}" for line in lines)
    size = (WIDTH, 46 + ROW * len(lines))
    svg = draw(size, "differences-", label, lambda figure: _paint(figure, lines, metric))
    side = "right" if metric.higher_is_better else "left"
    margin = study.settings.margin
    what = UNSEEN if margin is None else MARGIN.format(f"{margin:g} {metric.difference_unit}".rstrip())
    shading = f"; shaded: {what}" if any(line.shaded > 0 for line in lines) else ""
    caption = f"{title} with its 95 % interval, better to the {side}{shading}."
    return Picture(svg, caption, _numbers(study, lines))


def _lines(study: Contents) -> Iterator[_Line]:
    styles, metric, margin = looks(study.activations, study.settings.baseline), study.metric, study.settings.margin
    for row in study.summary:
        if row.activation not in study.drawn and row.activation in study.settings.activations:
            continue
        yield _Line(
            name=row.activation,
            look=styles[row.activation],
            difference=metric.shown(row.difference),
            low=metric.shown(row.difference_low),
            high=metric.shown(row.difference_high),
            shaded=row.detectable if margin is None else margin,
            said=MISSING if row.verdict == "baseline" else metric.difference(row.difference, beside=row.mean),
            verdict=row.verdict,
        )


def _numbers(study: Contents, lines: Sequence[_Line]) -> Numbers:
    of = {row.activation: row for row in study.summary}
    unit = f" ({study.metric.difference_unit})" if study.metric.difference_unit else ""
    shaded = "Margin" if study.settings.margin is not None else "Could see"
    cells = tuple((line.name, (_difference(line, of[line.name], study.metric), (_size(line, study.metric), "")))
                  for line in lines)  # fmt: skip
    return Numbers(("Activation", f"Difference{unit}", f"{shaded}{unit}"), cells)


def _difference(line: _Line, row: SummaryRow, metric: Metric) -> tuple[str, str]:
    span = metric.difference_span(row.difference_low, row.difference_high, beside=row.mean)
    return line.said, "" if MISSING in (span, line.said) else span


def _size(line: _Line, metric: Metric) -> str:
    return metric.value(metric.as_stored(line.shaded))


def _paint(figure: Figure, lines: Sequence[_Line], metric: Metric) -> None:
    names = [short(line.name, 18) for line in lines]
    axes = panel(figure, 14 + 7.3 * max(map(len, names)), 40, 70, 6)
    reach = _reach(lines)
    for y, line in enumerate(lines):
        _paint_line(axes, y, line, reach)
    axes.axvline(0, color=BASELINE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(lines)), names, color=INK)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel(with_span(f"Difference of {metric.tested}", metric.difference_unit or MISSING))
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x")
    low, high = of_differences(metric.bounds)
    keep_within(axes.xaxis, (metric.shown(low), metric.shown(high)))


def _reach(lines: Sequence[_Line]) -> float:
    """How far the axis goes to either side: all intervals, and of what is shaded as much as leaves them visible."""
    ends = [abs(end) for line in lines for end in (line.difference, line.low, line.high) if math.isfinite(end)]
    furthest = max(ends, default=0.0)
    shaded = max((line.shaded for line in lines if math.isfinite(line.shaded)), default=0.0)
    reach = 1.06 * max(furthest, min(shaded, 4 * furthest) if furthest else shaded)
    return reach or 1.0


def _paint_line(axes: Axes, y: float, line: _Line, reach: float) -> None:
    if math.isfinite(line.shaded):
        shaded = min(line.shaded, reach)
        axes.barh(y, 2 * shaded, height=1, left=-shaded, color=BASELINE, alpha=0.16, linewidth=0, zorder=0)
    colour = line.look.colour
    if math.isfinite(line.low) and math.isfinite(line.high):
        axes.plot([line.low, line.high], [y, y], color=colour, linewidth=2.6, clip_on=False)
    if math.isfinite(line.difference):
        axes.plot([line.difference], [y], "o", markersize=8, color=colour, clip_on=False)
    said = SIGNS.get(word_of(line.verdict), "") + line.said
    axes.annotate(said, (1, y), (8, 0), ("axes fraction", "data"), "offset pixels", va="center_baseline", color=INK)
