"""Honest comparison of paired runs: Student's t intervals, paired differences, Holm's correction, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
ROUNDING = 1e-6
"""Differences nearer to each other than this part of the largest value are equal: metrics are computed in float32."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; the ends are NaN for a single value."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """The mean of ``values`` with Student's t interval at 95 %.

    >>> interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, low=-0.484..., high=4.484...)
    """
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    error = float(stats.sem(sample))
    if error == 0:
        return Interval(mean, mean, mean)
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=mean, scale=error)
    return Interval(mean, float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """One activation against the baseline over the seeds that both finished."""

    difference: Interval
    pairs: int
    p: float
    """Two-sided p of the paired t test; NaN where it cannot be tested."""
    p_holm: float
    verdict: str


def compare(values: Mapping[int, float], baseline: Mapping[int, float]) -> Comparison:
    """Compare values with the baseline's, paired by seed; :func:`correct` fills in Holm's p and the verdict.

    >>> compare({0: 0.91, 1: 0.93, 2: 0.92}, {0: 0.90, 1: 0.91, 2: 0.905}).pairs
    3
    """
    seeds = sorted(values.keys() & baseline.keys())
    differences = [values[seed] - baseline[seed] for seed in seeds]
    found = interval(differences)
    if len(seeds) < 2:
        reason = "not tested: needs 2 seeds" if seeds else "not tested: no finished pair"
        return Comparison(found, len(seeds), math.nan, math.nan, reason)
    rounding = ROUNDING * max(abs(value) for of in (values, baseline) for value in of.values())
    if np.ptp(differences) <= rounding:
        # Equal differences (few seeds, few test images) leave no spread to judge the difference by.
        same = all(abs(difference) <= rounding for difference in differences)
        reason = "no detectable difference" if same else "not tested: no spread between seeds"
        return Comparison(found, len(seeds), 1.0 if same else math.nan, math.nan, reason)
    p = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return Comparison(found, len(seeds), p, math.nan, "")


def correct(comparisons: Sequence[Comparison], *, higher_is_better: bool = True) -> list[Comparison]:
    """Correct the p of several comparisons (Holm 1979) and say for each what was found.

    Only what could be tested counts as a comparison.
    """
    tested = [index for index, comparison in enumerate(comparisons) if not math.isnan(comparison.p)]
    adjusted = dict(zip(tested, holm([comparisons[index].p for index in tested]), strict=True))
    return [
        comparison if index not in adjusted else _judged(comparison, adjusted[index], higher_is_better)
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


def _judged(comparison: Comparison, p_holm: float, higher_is_better: bool) -> Comparison:
    detected = p_holm < 1 - LEVEL
    direction = "better" if (comparison.difference.mean > 0) == higher_is_better else "worse"
    verdict = direction if detected else "no detectable difference"
    return Comparison(comparison.difference, comparison.pairs, comparison.p, p_holm, verdict)
