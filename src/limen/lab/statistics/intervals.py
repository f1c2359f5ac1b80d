"""Student's t intervals, cut at the bounds of what they are of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limen.lab.statistics.student import critical, standard_error

LEVEL = 0.95
Bounds = tuple[float, float]
"""The least and the largest value that a quantity can have."""
UNBOUNDED: Bounds = (-math.inf, math.inf)


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; the ends are NaN for a single value."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], bounds: Bounds = UNBOUNDED) -> Interval:
    """The mean of ``values`` with Student's t interval at 95 %, as far as it lies between their ``bounds``.

    The true mean of a quantity that cannot leave its bounds lies between them, too. So what is cut off never holds it,
    and the interval holds it as often as before. A transformed scale (logits) would have no place for values at the
    bounds themselves, and no differences in the unit of the values.

    >>> interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, low=-0.484..., high=4.484...)
    >>> interval([1.0, 2.0, 3.0], (0.0, math.inf))
    Interval(mean=2.0, low=0.0, high=4.484...)
    """
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    error = standard_error(sample)
    if error == 0:
        return Interval(mean, mean, mean)
    reach = critical(len(values) - 1, (1 - LEVEL) / 2) * error
    return Interval(mean, max(mean - reach, bounds[0]), min(mean + reach, bounds[1]))


def of_differences(bounds: Bounds) -> Bounds:
    """Between which the difference of two values lies that lie between ``bounds``.

    >>> of_differences((0.0, 1.0)), of_differences((0.0, math.inf))
    ((-1.0, 1.0), (-inf, inf))
    """
    low, high = bounds
    return low - high, high - low
