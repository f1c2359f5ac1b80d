"""Which run comes next, as far as that can be said: a plan that may depend on what has come out so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from limen.lab.records import RunRecord

Pair = tuple[str, int]
"""A run by its activation and seed."""


class Agenda(Protocol):
    """What is still to do."""

    def next(self) -> Pair | None:
        """A run that can be computed now, given once; None where there is none, or none before another has ended."""

    def ended(self, run: RunRecord) -> None:
        """A run is stored."""


class InOrder:
    """Runs in a given order, each as soon as that which it builds upon is stored.

    >>> agenda = InOrder([("adact", 0), ("optimized", 0), ("relu", 0)], lambda pair: ("adact", 0) if
    ...                  pair[0] == "optimized" else None)
    >>> agenda.next(), agenda.next(), agenda.next()
    (('adact', 0), ('relu', 0), None)
    """

    def __init__(self, missing: Iterable[Pair], needs: Callable[[Pair], Pair | None] = lambda pair: None) -> None:
        self._todo, self._needs = deque(missing), needs
        self._open = set(self._todo)

    def next(self) -> Pair | None:
        """The first that can be computed."""
        for place, pair in enumerate(self._todo):
            if self._needs(pair) not in self._open:
                del self._todo[place]
                return pair
        return None

    def ended(self, run: RunRecord) -> None:
        """What builds upon it can be computed."""
        self._open.discard((run.activation, run.seed))
