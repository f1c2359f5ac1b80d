"""A mean over problems, each counted the same, of which the seeds are the replicates.

It is about these problems: other seeds of them, not other problems. The variance of each problem's mean comes from its
own seeds, and Student's t has the degrees of freedom of Welch and Satterthwaite. A bootstrap of seeds within problems
(rliable: Agarwal and others 2021) asks the same, and with five seeds its intervals are too narrow: it draws from a
variance that is n/(n - 1) times too small, and has no t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limen.lab.statistics.intervals import LEVEL, Interval
from limen.lab.statistics.paired import ROUNDING
from limen.lab.statistics.student import beyond, critical


@dataclass(frozen=True)
class Stratified:
    """The mean over problems with its interval, and the p value of a mean of 0 (two-sided)."""

    found: Interval
    p: float
    """NaN where nothing says how much other seeds would differ."""


def stratified(groups: Sequence[Sequence[float]]) -> Stratified:
    """The mean of the groups' means; without ends where a group has one value.

    >>> stratified([[1.0, 2.0, 3.0], [2.0, 4.0]]).found
    Interval(mean=2.5, low=-0.488..., high=5.488...)
    """
    if not groups:
        return Stratified(Interval(math.nan, math.nan, math.nan), math.nan)
    mean = float(np.mean([np.mean(group) for group in groups]))
    if min(map(len, groups)) < 2:
        return Stratified(Interval(mean, math.nan, math.nan), math.nan)
    of_means = np.array([_variance(group) / len(group) for group in groups])
    total = float(of_means.sum())
    if total == 0:
        return Stratified(Interval(mean, mean, mean), 1.0 if abs(mean) <= ROUNDING else math.nan)
    freedom = total**2 / float(np.sum(of_means**2 / np.array([len(group) - 1 for group in groups])))
    error = math.sqrt(total) / len(groups)
    half = error * critical(freedom, (1 - LEVEL) / 2)
    p = 2 * beyond(abs(mean) / error, freedom)
    return Stratified(Interval(mean, mean - half, mean + half), p)


def _variance(group: Sequence[float]) -> float:
    """Of a sample; of values that are equal but for rounding 0."""
    alike = np.ptp(group) <= ROUNDING * max(1.0, float(np.max(np.abs(group))))
    return 0.0 if alike else float(np.var(group, ddof=1))
