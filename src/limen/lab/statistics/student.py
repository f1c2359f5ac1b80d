"""Student's distribution: how much of it lies beyond a value, and the value beyond which so much of it lies.

By ``scipy.special``: ``scipy.stats`` gives the same digits, and takes a second more to import.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def beyond(t: float, freedom: float) -> float:
    """The part of the distribution above ``t``.

    >>> round(beyond(2.0, 10), 4)
    0.0367
    """
    from scipy import special  # half a second, and what trains nothing asks for no test

    return float(special.stdtr(freedom, -t))


@functools.lru_cache(maxsize=2048)
def critical(freedom: float, tail: float) -> float:
    """The t beyond which lies this part of the distribution.

    >>> round(critical(10, 0.025), 3)
    2.228
    """
    from scipy import special

    return -float(special.stdtrit(freedom, tail))


def two_sided(differences: Sequence[float]) -> float:
    """The p value of the paired t test, of differences that are not all the same.

    >>> round(two_sided([0.01, 0.02, 0.015]), 4)
    0.0351
    """
    sample = np.asarray(differences, dtype=np.float64)
    # By a power of 2, which changes no digit: squares of the smallest numbers would all be 0.
    scaled = np.ldexp(sample, -int(np.frexp(np.abs(sample).max())[1]))
    return 2 * beyond(abs(float(scaled.mean())) / standard_error(scaled), len(scaled) - 1)


def standard_error(sample: NDArray[np.float64]) -> float:
    """Of the mean of a sample.

    >>> round(standard_error(np.array([1.0, 2.0, 3.0])), 4)
    0.5774
    """
    return float(sample.std(ddof=1)) / math.sqrt(len(sample))
