"""Predicted against true values."""

from __future__ import annotations

from matplotlib.axes import Axes

from limen.lab.records import RunRecord, Scatter
from limen.lab.report.figures.examples.section import UNSEEN, Examples, plots
from limen.lab.report.figures.palette import INK, Look
from limen.lab.report.wording import short


def section(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """A scatter of each activation."""
    note = f"{UNSEEN} On the line a prediction is exact."
    return Examples("Predicted against true", note, plots(shown, styles, _paint))


def _paint(axes: Axes, run: RunRecord, look: Look) -> None:
    found = run.shown
    assert isinstance(found, Scatter)
    ends = [min(found.true), max(found.true)]
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(found.true, found.predicted, "o", markersize=3, alpha=0.5, color=look.colour, markeredgewidth=0)
    axes.set_xlabel(f"true {short(found.quantity)}")
    axes.set_ylabel("predicted")
    axes.grid()
