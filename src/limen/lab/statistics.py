"""Honest comparison of paired runs: Student's t intervals, paired differences, Holm's correction, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

LEVEL = 0.95
Bounds = tuple[float, float]
"""The least and the largest value that a quantity can have."""
UNBOUNDED: Bounds = (-math.inf, math.inf)
ROUNDING = 1e-6
"""Differences nearer to each other than this part of the largest value are equal: metrics are computed in float32."""


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
    from scipy import stats  # takes half a second to import, and only a table needs it

    error = float(stats.sem(sample))
    if error == 0:
        return Interval(mean, mean, mean)
    low, high = map(float, stats.t.interval(LEVEL, len(values) - 1, loc=mean, scale=error))
    return Interval(mean, max(low, bounds[0]), min(high, bounds[1]))


def of_differences(bounds: Bounds) -> Bounds:
    """Between which the difference of two values lies that lie between ``bounds``.

    >>> of_differences((0.0, 1.0)), of_differences((0.0, math.inf))
    ((-1.0, 1.0), (-inf, inf))
    """
    low, high = bounds
    return low - high, high - low


@dataclass(frozen=True)
class Comparison:
    """One activation against the baseline over the seeds that both finished."""

    higher_is_better: bool
    difference: Interval
    pairs: int
    p: float
    """Two-sided p of the paired t test; NaN where it cannot be tested."""
    p_holm: float
    verdict: str


def compare(
    values: Mapping[int, float], baseline: Mapping[int, float], *, higher_is_better: bool, bounds: Bounds = UNBOUNDED
) -> Comparison:
    """Compare values with the baseline's, paired by seed; :func:`correct` fills in Holm's p and the verdict.

    ``bounds`` are those of the values.

    >>> compare({0: 0.91, 1: 0.93, 2: 0.92}, {0: 0.90, 1: 0.91, 2: 0.905}, higher_is_better=True).pairs
    3
    """
    seeds = sorted(values.keys() & baseline.keys())
    differences = [values[seed] - baseline[seed] for seed in seeds]
    untested = Comparison(
        higher_is_better, interval(differences, of_differences(bounds)), len(seeds), math.nan, math.nan, ""
    )
    if len(seeds) < 2:
        return replace(untested, verdict="not tested: needs 2 seeds" if seeds else "not tested: no finished pair")
    rounding = ROUNDING * max(abs(value) for of in (values, baseline) for value in of.values())
    if np.ptp(differences) <= rounding:
        # Equal differences (few seeds, few test images) leave no spread to judge the difference by.
        if all(abs(difference) <= rounding for difference in differences):
            return replace(untested, p=1.0, verdict="no detectable difference")
        return replace(untested, verdict="not tested: no spread between seeds")
    from scipy import stats

    return replace(untested, p=float(stats.ttest_1samp(differences, 0.0).pvalue))


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p of several comparisons (Holm 1979) and say for each what was found, in its own direction.

    Only what could be tested counts as a comparison.
    """
    tested = [index for index, comparison in enumerate(comparisons) if not math.isnan(comparison.p)]
    adjusted = dict(zip(tested, holm([comparisons[index].p for index in tested]), strict=True))
    return [
        comparison if index not in adjusted else _judged(comparison, adjusted[index])
        for index, comparison in enumerate(comparisons)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _judged(comparison: Comparison, p_holm: float) -> Comparison:
    better = (comparison.difference.mean > 0) == comparison.higher_is_better
    detected = "better" if better else "worse"
    return replace(comparison, p_holm=p_holm, verdict=detected if p_holm < 1 - LEVEL else "no detectable difference")
