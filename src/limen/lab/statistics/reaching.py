"""How much training one run needs beside another, from their validation scores epoch by epoch.

Two runs of a seed are compared at the best score that both of them reach. Where the first ends above the second that
is the second's own best; where it ends below, it never had that, and the question is how much sooner the second had
the first's. If the two do not differ, they can be exchanged, and the logarithm of the ratio is symmetric about 0. A
ratio at the second's best alone would not be: of two equal activations half of the runs would never get there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from limen.lab.statistics.intervals import Interval, interval


@dataclass(frozen=True)
class Course:
    """A run's scores, of which more is better, by the number of epochs after which they were measured."""

    epochs: Sequence[float]
    scores: Sequence[float]

    @property
    def best(self) -> float:
        """The best score; NaN where there is none."""
        known = [score for score in self.scores if not math.isnan(score)]
        return max(known, default=math.nan)

    def until(self, score: float) -> float:
        """After how many epochs it first has this score, on straight lines between epochs; infinite where it never has.

        After its first epoch at the earliest, since no score is known before.

        >>> course = Course((1, 2, 3), (0.5, 0.4, 0.8))
        >>> course.until(0.5), course.until(0.6), course.until(0.9)
        (1.0, 2.5, inf)
        """
        before = (math.nan, math.nan)
        for epoch, found in zip(self.epochs, self.scores, strict=True):
            if found >= score:
                # Beside a score that is missing there is no line.
                part = 1.0 if math.isnan(before[1]) else (score - before[1]) / (found - before[1])
                return float(epoch if math.isnan(before[1]) else before[0] + part * (epoch - before[0]))
            before = (epoch, found)
        return math.inf


@dataclass(frozen=True)
class Paired:
    """A run beside the baseline's of the same seed."""

    ratio: float
    """Its epochs over the baseline's, to the best score that both reach."""
    reached: bool
    """Whether it has the baseline's best score."""
    at_least: float
    """Its epochs over the baseline's to the baseline's best score; of a run that never had it, what is surely less."""


def beside(run: Course, baseline: Course) -> Paired | None:
    """How much training a run needs beside the baseline's; None where one has no score, or only one epoch.

    >>> beside(Course((1, 2, 3, 4), (0.2, 0.4, 0.6, 0.8)), Course((1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4)))
    Paired(ratio=0.5, reached=True, at_least=0.5)
    """
    if math.isnan(run.best) or math.isnan(baseline.best) or min(len(run.epochs), len(baseline.epochs)) < 2:
        return None
    common = min(run.best, baseline.best)
    ratio = run.until(common) / baseline.until(common)
    reached = run.best >= baseline.best
    at_least = ratio if reached else run.epochs[-1] / baseline.until(baseline.best)
    return Paired(ratio, reached, at_least)


@dataclass(frozen=True)
class Training:
    """How much training an activation needs beside the baseline, over seeds."""

    pairs: int
    reached: int
    """In how many of them the baseline's best score was reached."""
    epochs: Interval
    """Geometric mean of the ratios, with its interval."""
    at_least: float
    """A geometric mean that the one at the baseline's own score is not below; the same where all reached it."""

    @property
    def mostly_reached(self) -> bool:
        """Whether the baseline's score was reached in half of the seeds or more."""
        return self.pairs > 0 and 2 * self.reached >= self.pairs


def training(pairs: Sequence[Paired], of_logarithms: Callable[[Sequence[float]], Interval] = interval) -> Training:
    """Over seeds, with Student's t interval of the logarithms unless another is asked for.

    >>> training([Paired(0.5, True, 0.5), Paired(2.0, False, 1.5)]).epochs.mean
    1.0
    """
    found = of_logarithms([math.log(pair.ratio) for pair in pairs])
    bound = float(np.exp(np.mean([math.log(pair.at_least) for pair in pairs]))) if pairs else math.nan
    return Training(len(pairs), sum(pair.reached for pair in pairs), exponential(found), bound)


def exponential(found: Interval) -> Interval:
    """An interval of logarithms as one of what they are of.

    >>> exponential(Interval(0.0, -math.log(2), math.log(2)))
    Interval(mean=1.0, low=0.5, high=2.0)
    """
    return Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high))


def scaled(found: Interval, by: float) -> Interval:
    """All of an interval times a number.

    >>> scaled(Interval(1.0, 0.5, 2.0), 2.0)
    Interval(mean=2.0, low=1.0, high=4.0)
    """
    return Interval(found.mean * by, found.low * by, found.high * by)
