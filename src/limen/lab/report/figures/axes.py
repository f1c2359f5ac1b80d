"""Axes that end where what they show can be: no accuracy above 100 %, no half epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import MaxNLocator

from limen.lab.metric import NOT_NEGATIVE, Metric
from limen.lab.statistics import UNBOUNDED, Bounds


def shown_bounds(metric: Metric) -> Bounds:
    """Between which a metric's values lie as an axis has them.

    >>> from limen.lab.metric import ACCURACY
    >>> shown_bounds(ACCURACY)
    (0.0, 100.0)
    """
    return metric.shown(metric.bounds[0]), metric.shown(metric.bounds[1])


def bounds_of(losses: Iterable[float]) -> Bounds:
    """Of losses, which a likelihood alone takes below 0.

    >>> bounds_of([0.5, 2.0]), bounds_of([0.5, -2.0])
    ((0.0, inf), (-inf, inf))
    """
    return NOT_NEGATIVE if min(losses) >= 0 else UNBOUNDED


def keep_within(axis: Axis, bounds: Bounds = UNBOUNDED) -> None:
    """Let an axis, whose margins reach beyond what is drawn, end at the bounds, and its ticks with it."""
    low, high = axis.get_view_interval()
    kept = max(low, bounds[0]), min(high, bounds[1])
    if kept[0] < kept[1]:
        (low, high) = kept
    _limit(axis, low, high)
    room = 1e-9 * (high - low)
    axis.set_ticks([tick for tick in axis.get_majorticklocs() if low - room <= tick <= high + room])


def count_epochs(axes: Axes, epochs: Iterable[int], most: int) -> None:
    """Let the horizontal axis reach from the first epoch to the last, with at most so many ticks at whole ones."""
    known = sorted({*map(int, epochs)})
    axes.set_xlabel("Epoch")
    if len(known) == 1:
        axes.set_xlim(known[0] - 0.5, known[0] + 0.5)
        axes.set_xticks(known)
        return
    axes.set_xlim(known[0], known[-1])
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True))
    keep_within(axes.xaxis)


def _limit(axis: Axis, low: float, high: float) -> None:
    if math.isfinite(low) and math.isfinite(high):
        limit = axis.axes.set_xlim if isinstance(axis, XAxis) else axis.axes.set_ylim
        limit(low, high)
