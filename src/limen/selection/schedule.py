"""Schedules: plain functions from progress in training (0 to 1) to a temperature or a coefficient."""

from __future__ import annotations

import math
from collections.abc import Callable

from limen.errors import SpecError

Schedule = Callable[[float], float]


def linear(start: float, end: float) -> Schedule:
    """A straight line from ``start`` at progress 0 to ``end`` at 1.

    >>> linear(1.0, 0.0)(0.25)
    0.75
    """
    return lambda progress: start + (end - start) * _within(progress)


def geometric(start: float, end: float) -> Schedule:
    """The same factor in equal times, the usual way to cool a softmax; both ends above 0.

    Raises:
        SpecError: if an end is not above 0.

    >>> geometric(1.0, 0.01)(0.5)
    0.1
    """
    if not (start > 0 and end > 0):
        raise SpecError(f"a geometric schedule goes between numbers above 0, and {start!r} to {end!r} was given.")
    return lambda progress: float(f"{start * (end / start) ** _within(progress):.15g}")


def cosine(start: float, end: float) -> Schedule:
    """Half a cosine wave: slow, fast, slow.

    >>> cosine(1.0, 0.0)(0.5)
    0.5
    """
    return lambda progress: end + (start - end) * (1 + math.cos(math.pi * _within(progress))) / 2


def _within(progress: float) -> float:
    return min(max(progress, 0.0), 1.0)
