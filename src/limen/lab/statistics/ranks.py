"""Average ranks over problems, Friedman's test, and which difference of ranks is critical by Nemenyi's (Demšar 2006).

Here the problems are the replicates, each with one score of every activation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limen.lab.statistics.intervals import LEVEL


@dataclass(frozen=True)
class Ranks:
    """Average ranks; 1 is the best."""

    of: Mapping[str, float]
    problems: int
    p: float
    """Friedman's: that all have the same rank; NaN for fewer than three."""
    critical: float
    """Average ranks that differ by less are not told apart (Nemenyi, 5 %)."""

    @property
    def alike(self) -> tuple[tuple[str, ...], ...]:
        """The largest sets of which none differs critically from another, the best first.

        >>> Ranks({"a": 1.0, "b": 1.5, "c": 3.0}, 4, 0.1, 1.6).alike
        (('a', 'b'), ('b', 'c'))
        """
        ordered = sorted(self.of, key=lambda name: self.of[name])
        found: list[tuple[str, ...]] = []
        for place, name in enumerate(ordered):
            near = tuple(other for other in ordered[place:] if self.of[other] - self.of[name] <= self.critical)
            if len(near) > 1 and not (found and set(near) <= set(found[-1])):
                found.append(near)
        return tuple(found)


def ranks(scores: Sequence[Mapping[str, float]]) -> Ranks:
    """Average ranks of what each problem gives a score, of which more is better; NaN (never finished) is last.

    >>> ranks([{"a": 0.9, "b": 0.8, "c": 0.7}, {"a": 0.5, "b": 0.5, "c": 0.1}]).of
    {'a': 1.25, 'b': 1.75, 'c': 3.0}
    """
    from scipy import stats

    names = [*scores[0]]
    worth = np.array([[-problem[name] for name in names] for problem in scores])
    each = stats.rankdata(np.where(np.isnan(worth), math.inf, worth), axis=1)
    average = dict(zip(names, map(float, each.mean(axis=0)), strict=True))
    count, problems = len(names), len(scores)
    critical = critical_difference(count, problems)
    return Ranks(average, problems, _friedman(each) if count > 2 else math.nan, critical)


def critical_difference(count: int, problems: int) -> float:
    """How far two of so many average ranks must lie apart (Nemenyi 1963, 5 %).

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    from scipy import stats

    reach = float(stats.studentized_range.isf(1 - LEVEL, count, math.inf)) / math.sqrt(2)
    return reach * math.sqrt(count * (count + 1) / (6 * problems))


def _friedman(each: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """The p value of Friedman's test (1937), corrected for ties; 1 where every problem has all alike."""
    from scipy import stats

    return float(stats.friedmanchisquare(*each.T).pvalue) if np.ptp(each, axis=1).any() else 1.0
