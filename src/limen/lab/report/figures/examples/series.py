"""A forecast beside what came."""

from __future__ import annotations

from matplotlib.axes import Axes

from limen.lab.records import RunRecord, Series
from limen.lab.report.figures.examples.section import UNSEEN, WIDE, Examples, plots
from limen.lab.report.figures.palette import BASELINE, INK, Look
from limen.lab.report.wording import short

TIMES_SHOWN = 6


def section(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """The forecast of each activation."""
    note = f"{UNSEEN} Grey: what came; coloured: the forecast of each step from the steps before it."
    return Examples("Forecast of the test span", note, plots(shown, styles, _paint, WIDE), wide=True)


def _paint(axes: Axes, run: RunRecord, look: Look) -> None:
    found = run.shown
    assert isinstance(found, Series)
    steps = range(len(found.true))
    axes.plot(steps, found.true, color=BASELINE, linewidth=2.4, alpha=0.55)
    axes.plot(steps, found.predicted, color=INK if look.colour == BASELINE else look.colour, linewidth=1)
    last = len(found.times) - 1
    ticks = sorted({round(i * last / (TIMES_SHOWN - 1)) for i in range(TIMES_SHOWN)})
    axes.set_xlim(0, max(last, 1))
    axes.set_xticks(ticks, [found.times[tick] for tick in ticks])
    axes.set_ylabel(short(found.quantity))
    axes.grid(axis="y")
