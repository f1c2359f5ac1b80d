"""How often one activation is better than another in a run: the probability of improvement, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from limen.lab.statistics.intervals import LEVEL, Interval


def superiority(groups: Sequence[Sequence[float]], tie: float = 0.0) -> Interval:
    """The chance that a run is better, over problems that count the same; equal runs count half.

    Args:
        groups: by problem, differences of which those above 0 are better.
        tie: the size up to which a difference is none.

    The interval is Clopper and Pearson's (1934) of the mean over all runs. That the chance may be another in each
    problem makes the mean vary less than the binomial one (Hoeffding 1956). Where problems have not as many runs, it
    is of as many as would make the weighted mean vary as much.

    >>> superiority([[0.1, 0.2, -0.1], [0.3, 0.1, 0.2]])
    Interval(mean=0.833..., low=0.358..., high=0.995...)
    """
    if not groups or not all(groups):
        return Interval(math.nan, math.nan, math.nan)
    shares = [float(np.mean([0.5 if abs(x) <= tie else float(x > 0) for x in group])) for group in groups]
    mean = float(np.mean(shares))
    runs = len(groups) ** 2 / sum(1 / len(group) for group in groups)
    from scipy import stats

    better, tail = mean * runs, (1 - LEVEL) / 2
    # A count within rounding of none or of all has no end on that side.
    low = 0.0 if better < 1e-9 else float(stats.beta.ppf(tail, better, runs - better + 1))
    high = 1.0 if runs - better < 1e-9 else float(stats.beta.isf(tail, better + 1, runs - better))
    return Interval(mean, low, high)
