"""The function one layer learned, drawn over the inputs it really sees."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from limen.lab.records import LayerShape
from limen.lab.report.figures.palette import BASELINE, INK, MUTED, Look
from limen.lab.report.figures.svg import draw, panel
from limen.lab.report.sites import Site

SIZE = (250, 190)
Points = np.ndarray
"""Columns x, y and density, only the bins where all three are finite."""


def shape(site: Site, activation: str, look: Look, prefix: str) -> Markup | None:
    """Draw one layer's panel, or nothing when no seed has a point to draw."""
    drawn = [points for _, stored in site.shapes if len(points := _points(stored))]
    if not drawn:
        return None
    label = f"Function learned by {activation} at {site.path}, a line a seed, over the histogram of its inputs"
    return draw(SIZE, prefix, label, lambda figure: _paint(figure, drawn, look))


def _points(stored: LayerShape) -> Points:
    rows = [row for row in zip(stored.x, stored.y, stored.density, strict=True) if all(map(math.isfinite, row))]
    return np.array(sorted(rows)).reshape(-1, 3)


def _paint(figure: Figure, drawn: Sequence[Points], look: Look) -> None:
    axes = panel(figure, 32, 24, 8, 8)
    _histograms(axes, drawn)
    every = np.concatenate(drawn)
    low, high = every[:, 0].min(), every[:, 0].max()
    corners = np.array([low, *([0.0] if low < 0 < high else []), high])
    axes.plot(corners, np.maximum(corners, 0), color=INK, linewidth=1.1, linestyle=(0, (1, 2)))
    for points in drawn:
        axes.plot(points[:, 0], points[:, 1], color=look.colour, linewidth=1.5, alpha=0.9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=10, pad=3, left=False)
    axes.grid(color=MUTED, alpha=0.18)


def _histograms(axes: Axes, drawn: Sequence[Points]) -> None:
    """Fill the lower part of the panel with the share of inputs in each bin, one layer of grey a seed."""
    behind = axes.twinx()
    behind.set_axis_off()
    for points in drawn:
        behind.fill_between(
            points[:, 0], points[:, 2], step="mid", color=BASELINE, alpha=max(0.06, 0.3 / len(drawn)), linewidth=0
        )
    tallest = max(float(points[:, 2].max()) for points in drawn)
    behind.set_ylim(0, 1.25 * tallest if tallest > 0 else 1)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
