"""A confusion matrix: true classes down, predicted ones across, shaded by the share of the true class."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from limen.lab.records import Confusion, RunRecord
from limen.lab.report.figures.examples.section import UNSEEN, Examples, plots
from limen.lab.report.figures.palette import Look
from limen.lab.report.wording import short

MOST_NAMED = 30
"""More classes than this have no room for their names, and their counts none from half as many on."""


def section(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """The matrix of each activation."""
    note = f"{UNSEEN} Rows: the true class; columns: the predicted; shaded by the row's share. Right is the diagonal."
    return Examples("Confusion matrix", note, plots(shown, styles, _paint))


def _paint(axes: Axes, run: RunRecord, look: Look) -> None:
    """A class without test examples has an empty row."""
    found = run.shown
    assert isinstance(found, Confusion)
    counts = np.array(found.counts)
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    edges = np.arange(len(counts) + 1) - 0.5
    axes.pcolormesh(edges, edges, shares, cmap="Blues", vmin=0, vmax=1)  # a page's SVG holds shapes, no pixels
    axes.invert_yaxis()
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    named = [short(name, 8) for name in found.classes] if len(counts) <= MOST_NAMED else []
    ticks = range(len(named))
    axes.set_xticks(ticks, named, rotation=0 if max(map(len, named), default=0) <= 2 else 90)
    axes.set_yticks(ticks, named)
    if len(counts) > MOST_NAMED // 2:
        return
    for true, predicted in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[true, predicted] > 0.5 else "black"
        axes.text(predicted, true, str(counts[true, predicted]), ha="center", va="center", fontsize=7, color=colour)
