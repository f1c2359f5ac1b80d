"""Paired inference that stays true whenever one looks: a bet on signs, whose stakes grow with the size of differences.

Assumption: the differences are drawn independently, and symmetric about a centre c. Where two activations do not
differ at all, their runs of a seed can be exchanged, so the difference is symmetric about 0 whatever its tails are
and however few values it has. Given the sizes |d| so far, each sign is then a fair coin. So for any stake b that
depends on sizes and earlier signs only, the wealth Π (1 + b·sign) is a martingale that starts at 1, and by Ville's
inequality it ever reaches 1/α with a chance of at most α (Efron 1969; de la Peña 1999; Ramdas, Ruf, Larsson and Koolen
2020).

The stake is tanh(θ·|d|/s), with s the root mean square of the differences so far: for normal differences the
likelihood ratio of the sign given the size. Wealth is averaged over a few θ, so that no size of the effect must be
guessed, and the unit of the differences does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limen.lab.statistics.intervals import LEVEL, Interval

STAKES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""θ, in which wealth starts in equal parts."""
GRID = 400
"""Centres that an interval is looked for among; its ends lie on the outer side of the last that is left."""

Array = NDArray[np.float64]


def log_wealth(differences: Array) -> Array:
    """The logarithm of what betting on differences above 0 has made of 1, after each; the last axis is the seeds.

    >>> np.exp(log_wealth(np.array([1.0, 1.0, -1.0]))).round(2).tolist()
    [1.69, 2.93, 0.64]
    """
    count = np.arange(1, differences.shape[-1] + 1)
    size = np.sqrt(np.cumsum(differences**2, -1) / count)
    scaled = differences / np.where(size > 0, size, 1.0)
    # log(1 + tanh u) without cancellation far below 0.
    bets = [np.cumsum(math.log(2) - np.logaddexp(0.0, -2 * stake * scaled), -1) for stake in STAKES]
    found: Array = np.logaddexp.reduce(bets, axis=0) - math.log(len(STAKES))
    return found


def anytime_p(differences: Array) -> Array:
    """After each seed the p value of a centre of 0 or less, valid whenever one looks: 1 / the most wealth so far."""
    return np.minimum(1.0, np.exp(-np.maximum.accumulate(log_wealth(differences), -1)))


@dataclass(frozen=True)
class LookedAt:
    """P values that hold at any time: of no difference (two-sided), and of one as large as the margin or larger."""

    p: float
    p_equivalence: float
    upward: bool
    """Whether it is the bet on differences above 0 that did better."""


def look(differences: Sequence[float], margin: float) -> LookedAt:
    """What the differences say so far, in the order of their seeds.

    Equivalence takes both of two one-sided bets, against a centre of -margin or less and of margin or more, as
    :func:`.tost` does.

    >>> look([0.1, -0.2, 0.0, 0.1, -0.1, 0.0, 0.1], margin=0.5)
    LookedAt(p=1.0, p_equivalence=0.0167..., upward=True)
    """
    x = np.asarray(differences, dtype=np.float64)
    above, below, over, under = anytime_p(np.stack([x, -x, x + margin, margin - x]))[:, -1]
    return LookedAt(float(min(1.0, 2 * min(above, below))), float(max(over, under)), bool(above <= below))


def always_interval(differences: Sequence[float]) -> Interval:
    """The mean with an interval that holds the centre at every look together, in 95 of 100 studies.

    All centres that two bets, each at 2.5 %, have not yet refuted. Without ends until there are enough seeds.

    >>> always_interval([0.1, -0.2, 0.0, 0.1, -0.1, 0.0, 0.1])
    Interval(mean=0.0, low=-0.227..., high=0.150...)
    """
    x = np.asarray(differences, dtype=np.float64)
    mean = float(x.mean()) if len(x) else math.nan
    if len(x) < fewest_seeds(1 - LEVEL, two_sided=True):
        return Interval(mean, math.nan, math.nan)
    return Interval(mean, _lowest(x), -_lowest(-x))


def _lowest(x: Array) -> float:
    """The lowest centre that is not refuted."""
    spread = float(np.ptp(x))
    if spread == 0:
        return float(x[0])
    reach = spread
    while not _refuted(x, np.array([x.min() - reach]))[0]:
        reach *= 2
    centres = np.linspace(x.min() - reach, x.max(), GRID)
    left = np.flatnonzero(~_refuted(x, centres))
    return float(centres[max(0, left[0] - 1)]) if len(left) else float(x.mean())


def _refuted(x: Array, centres: Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = anytime_p(x - centres[:, None])[:, -1] <= (1 - LEVEL) / 2
    return found


def fewest_seeds(level: float, *, two_sided: bool) -> int:
    """With how many seeds a bet can first be won at a level: where all differences are equal.

    >>> fewest_seeds(0.05, two_sided=False), fewest_seeds(0.05, two_sided=True)
    (6, 7)
    """
    needed = -math.log(level / 2 if two_sided else level)
    seeds = 1
    while log_wealth(np.ones(seeds))[-1] < needed:
        seeds += 1
    return seeds
