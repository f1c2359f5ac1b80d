"""One activation against the baseline, paired by seed: the differences, their interval, the paired t test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from limen.lab.statistics.intervals import UNBOUNDED, Bounds, Interval, interval, of_differences
from limen.lab.statistics.student import two_sided

ROUNDING = 1e-6
"""Differences nearer to each other than this part of the largest value are equal: metrics are computed in float32."""


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
    differences: tuple[float, ...] = ()
    """By seed; those that are equal but for rounding are equal."""
    detectable: float = math.nan
    """The smallest true difference that as many pairs show in 80 of 100 studies, after correction; NaN if unknown."""
    p_equivalence: float = math.nan
    """Of two one-sided tests against a margin, corrected; NaN where none was given."""

    @property
    def deviation(self) -> float:
        """The standard deviation of the differences; NaN for fewer than two."""
        return float(np.std(self.differences, ddof=1)) if len(self.differences) > 1 else math.nan

    @property
    def has_spread(self) -> bool:
        """Whether the differences are not all equal."""
        return len(set(self.differences)) > 1


def compare(
    values: Mapping[int, float], baseline: Mapping[int, float], *, higher_is_better: bool, bounds: Bounds = UNBOUNDED
) -> Comparison:
    """Compare values with the baseline's, paired by seed; :func:`.correct` fills in Holm's p and the verdict.

    ``bounds`` are those of the values.

    >>> compare({0: 0.91, 1: 0.93, 2: 0.92}, {0: 0.90, 1: 0.91, 2: 0.905}, higher_is_better=True).pairs
    3
    """
    seeds = sorted(values.keys() & baseline.keys())
    differences = [values[seed] - baseline[seed] for seed in seeds]
    found = interval(differences, of_differences(bounds))
    untested = Comparison(higher_is_better, found, len(seeds), math.nan, math.nan, "", tuple(differences))
    if len(seeds) < 2:
        return replace(untested, verdict="not tested: needs 2 seeds" if seeds else "not tested: no finished pair")
    rounding = ROUNDING * max(abs(value) for of in (values, baseline) for value in of.values())
    if np.ptp(differences) <= rounding:
        # Equal differences (few seeds, few test images) leave no spread to judge the difference by.
        if all(abs(difference) <= rounding for difference in differences):
            same = replace(untested, differences=(0.0,) * len(seeds))
            return replace(same, p=1.0, verdict="no detectable difference")
        same = replace(untested, differences=(found.mean,) * len(seeds))
        return replace(same, verdict="not tested: no spread between seeds")
    return replace(untested, p=two_sided(differences))
