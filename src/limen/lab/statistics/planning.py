"""How many seeds it takes: to find a difference, to find equivalence, to decide what is still open."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import NormalDist

from limen.lab.statistics.equivalence import equivalence_power
from limen.lab.statistics.power import POWER, power

NORMAL = NormalDist()
MOST = 10_000
"""Seeds; beyond that the answer is that there is none."""


def seeds_for(difference: float, deviation: float, level: float) -> int | None:
    """The fewest seeds that show a difference with 80 % power; None for more than 10,000.

    >>> seeds_for(0.5, 0.59, 0.05)
    13
    """
    return _fewest(lambda pairs: power(difference / deviation, pairs, level), 2)


def seeds_for_equivalence(margin: float, deviation: float, level: float, difference: float = 0.0) -> int | None:
    """The fewest seeds that show a true ``difference`` to be equivalent with 80 % power; None for more than 10,000.

    >>> seeds_for_equivalence(0.5, 0.59, 0.05)
    14
    """
    within, away = margin / deviation, difference / deviation
    return None if away >= within else _fewest(lambda pairs: equivalence_power(away, within, pairs, level), 2)


def further_seeds(mean: float, deviation: float, pairs: int, margin: float, level: float) -> int | None:
    """How many more seeds decide with 80 % power, if what was measured so far is the truth.

    The sooner of a difference found and equivalence found; None where 10,000 do not. By the normal distribution with
    the t test's usual correction (Guenther 1981), which takes microseconds: it is asked for after every run.

    >>> further_seeds(0.1, 0.59, 3, margin=0.5, level=0.05)
    13
    """
    if pairs < 2 or not deviation > 0:
        return None
    effect, within = abs(mean) / deviation, margin / deviation
    found = [
        _fewest(partial(_finds_difference, effect, level), 2),
        _fewest(partial(_equates, effect, within, level), 2),
    ]
    known = [seeds for seeds in found if seeds is not None]
    return max(1, min(known) - pairs) if known else None


def _finds_difference(effect: float, level: float, pairs: int) -> float:
    away = NORMAL.inv_cdf(1 - level / 2)
    return NORMAL.cdf(effect * math.sqrt(max(0.0, pairs - away**2 / 2)) - away)


def _equates(effect: float, within: float, level: float, pairs: int) -> float:
    away = NORMAL.inv_cdf(1 - level)
    root = math.sqrt(max(0.0, pairs - away**2 / 2))
    return NORMAL.cdf((within - effect) * root - away) + NORMAL.cdf((within + effect) * root - away) - 1


def _fewest(reached: Callable[[int], float], least: int) -> int | None:
    """The smallest number of pairs with which a power that grows with it is reached."""
    low, high = least - 1, least
    while reached(high) < POWER:
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = math.floor((low + high) / 2)
        low, high = (low, middle) if reached(middle) >= POWER else (middle, high)
    return high
