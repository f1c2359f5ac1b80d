"""The function one layer learned, drawn over the inputs it really sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.ticker import MaxNLocator

from limen.lab.numerals import MISSING, between, significant
from limen.lab.records import LayerShape
from limen.lab.report.figures.palette import BASELINE, INK, MUTED, Look
from limen.lab.report.figures.svg import draw, frame, mark, panel
from limen.lab.report.sites import Site

SIZE = (250, 190)
GRID = 65
"""Points of a band."""
Points = np.ndarray
"""Columns x, y and density, only the bins where all three are finite."""


def shape(site: Site, activation: str, look: Look, prefix: str, banded: bool = False) -> Markup | None:
    """Draw one layer's panel, or nothing when no seed has a point to draw.

    Args:
        site: the layer.
        activation: whose layer it is.
        look: in which it is drawn.
        prefix: of every id in the drawing.
        banded: a band for all seeds in the place of a line for each.
    """
    drawn = {str(seed): points for seed, stored in site.shapes if len(points := _points(stored))}
    if not drawn:
        return None
    lines = "the mean over seeds with a band" if banded else "a line a seed"
    label = f"Function learned by {activation} at {site.path}, {lines}, over the histogram of its inputs"
    paint = _paint_band if banded else _paint
    return draw(SIZE, prefix, label, lambda figure: paint(figure, drawn, look))


def _points(stored: LayerShape) -> Points:
    rows = [row for row in zip(stored.x, stored.y, stored.density, strict=True) if all(map(math.isfinite, row))]
    return np.array(sorted(rows)).reshape(-1, 3)


def values(site: Site, places: Sequence[float]) -> tuple[tuple[str, str], ...]:
    """Of what the seeds learned in one layer the mean and the range, where at least half of them have inputs."""
    drawn = [points for _, stored in site.shapes if len(points := _points(stored))]
    if not drawn:
        return tuple((MISSING, "") for _ in places)
    found = np.array([_along(np.array(places), points, 1, math.nan) for points in drawn])
    return tuple(map(_value, found.T))


def _value(of_seeds: np.ndarray) -> tuple[str, str]:
    known = of_seeds[np.isfinite(of_seeds)]
    if 2 * len(known) < len(of_seeds):
        return MISSING, ""
    low, high = significant(float(known.min())), significant(float(known.max()))
    return significant(float(known.mean())), "" if low == high else between(low, high)


def _paint(figure: Figure, drawn: Mapping[str, Points], look: Look) -> None:
    axes = panel(figure, 32, 24, 8, 8)
    every = [*drawn.values()]
    _histograms(axes, every)
    _paint_relu(axes, every)
    for seed, points in drawn.items():
        (line,) = axes.plot(points[:, 0], points[:, 1], color=look.colour, linewidth=1.5, alpha=0.9)
        mark(line, seed=seed)
    _scale(axes)
    frame(axes)


def _paint_band(figure: Figure, drawn: Mapping[str, Points], look: Look) -> None:
    """On one grid: where fewer than half of the seeds have inputs there is neither mean nor band."""
    all_seeds = [*drawn.values()]
    every = np.concatenate(all_seeds)
    grid = np.linspace(every[:, 0].min(), every[:, 0].max(), GRID)
    values = np.array([_along(grid, points, 1, math.nan) for points in all_seeds])
    shares = np.array([_along(grid, points, 2, 0.0) for points in all_seeds])
    common = np.isfinite(values).mean(axis=0) >= 0.5
    x, values = grid[common], values[:, common]
    axes = panel(figure, 32, 24, 8, 8)
    _histogram(axes, grid, shares.mean(axis=0))
    _paint_relu(axes, all_seeds)
    if len(x):
        band: dict[str, Any] = {"color": look.colour, "alpha": 0.25, "linewidth": 0}
        axes.fill_between(x, np.nanmin(values, axis=0), np.nanmax(values, axis=0), **band)
        (line,) = axes.plot(x, np.nanmean(values, axis=0), color=look.colour, linewidth=1.5)
        mark(line, seed="mean")
    _scale(axes)
    frame(axes)


def _along(grid: Points, points: Points, column: int, outside: float) -> Points:
    """A column over the grid, and what stands outside of a seed's inputs."""
    x, values = points[:, 0].astype(np.float64), points[:, column].astype(np.float64)
    return np.interp(grid.astype(np.float64), x, values, left=outside, right=outside)


def _paint_relu(axes: Axes, drawn: Sequence[Points]) -> None:
    every = np.concatenate(drawn)
    low, high = every[:, 0].min(), every[:, 0].max()
    corners = np.array([low, *([0.0] if low < 0 < high else []), high])
    axes.plot(corners, np.maximum(corners, 0), color=INK, linewidth=1.1, linestyle=(0, (1, 2)))


def _scale(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=10, pad=3, left=False)
    axes.grid(color=MUTED, alpha=0.18)


def _histogram(axes: Axes, x: np.ndarray, share: np.ndarray) -> None:
    """Fill the lower part of the panel with the share of inputs in each bin."""
    _fill(axes, x, share, 1.25 * share.max(), alpha=0.3)


def _histograms(axes: Axes, drawn: Sequence[Points]) -> None:
    """The same for several seeds, a layer of grey each."""
    tallest = 1.25 * max(float(points[:, 2].max()) for points in drawn)
    for points in drawn:
        _fill(axes, points[:, 0], points[:, 2], tallest, alpha=max(0.06, 0.3 / len(drawn)))


def _fill(axes: Axes, x: np.ndarray, share: np.ndarray, top: float, alpha: float) -> None:
    """From the panel's lower edge; ``top`` is at its upper one. Axes of its own took as long as the rest of a panel."""
    height = share / top if top > 0 else share
    grey: dict[str, Any] = {"color": BASELINE, "alpha": alpha, "linewidth": 0, "zorder": 0}
    # Added as ``axes.stairs`` does it each took 3 ms, for limits that the function's line has set.
    axes.add_artist(StepPatch(height, _edges(x), fill=True, transform=axes.get_xaxis_transform(), **grey))


def _edges(x: np.ndarray) -> np.ndarray:
    """Of bins about these places."""
    return np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])
