"""What a paired t test can see: its power, and the smallest difference that so many seeds show."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from limen.lab.statistics.student import critical

POWER = 0.8
"""How often a study is to find what is there."""
NODES = 1000
"""Equally likely values of a standard deviation over which power is averaged; more change no fifth digit."""


@functools.lru_cache(maxsize=512)
def deviations(freedom: int) -> NDArray[np.float64]:
    """What a sample's standard deviation comes to where the true one is 1, as equally likely values."""
    from scipy import special

    middles = (np.arange(NODES) + 0.5) / NODES
    found: NDArray[np.float64] = np.sqrt(2 * special.gammaincinv(freedom / 2, middles) / freedom)
    return found


def normal_below(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of the normal distribution below each value."""
    from scipy import special

    found: NDArray[np.float64] = special.ndtr(x)
    return found


def power(effect: float, pairs: int, level: float) -> float:
    """How often the two-sided paired t test finds a difference of ``effect`` standard deviations.

    Given the sample's standard deviation, the mean is normal; the t test's power is its average over what that
    standard deviation comes to.

    >>> round(power(1.0, 10, 0.05), 3)
    0.803
    """
    away = critical(pairs - 1, level / 2) * deviations(pairs - 1)
    shift = effect * math.sqrt(pairs)
    return float(np.mean(normal_below(shift - away) + normal_below(-shift - away)))


def detectable(deviation: float, pairs: int, level: float) -> float:
    """The smallest true difference that so many pairs show with 80 % power, from the deviation of their differences.

    NaN for fewer than two pairs, and where they do not differ among themselves, so that nothing says how much others
    would.

    >>> round(detectable(0.59, 3, 0.05), 2)
    1.93
    """
    if pairs < 2 or not deviation > 0:
        return math.nan
    return deviation * _effect(pairs, level)


@functools.lru_cache(maxsize=2048)
def _effect(pairs: int, level: float) -> float:
    """The smallest effect with this power; it takes milliseconds, and a study asks for the same after every run."""
    low, high = 0.0, 1.0
    while power(high, pairs, level) < POWER:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, pairs, level) < POWER else (low, middle)
    return high
