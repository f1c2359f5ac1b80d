"""The numbers behind a figure: what it shows, as a table for those who do not see it and for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_ROWS = 100
"""Rows of the table behind a figure; of longer curves they lie evenly."""


@dataclass(frozen=True)
class Numbers:
    """A table whose first column names its rows."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """A row's name, and for each other column a number and its span, which may be empty."""
    series: tuple[int, ...] = ()
    """Which of the activations each other column belongs to, where each belongs to one."""


def evenly(count: int, most: int = MOST_ROWS) -> Sequence[int]:
    """At most so many places of ``count``, the first and the last among them.

    >>> [*evenly(3)], [*evenly(9, 3)], [*evenly(9, 1)]
    ([0, 1, 2], [0, 4, 8], [0])
    """
    if count <= most:
        return range(count)
    return [round(place * (count - 1) / max(1, most - 1)) for place in range(most)]
