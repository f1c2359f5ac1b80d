"""The trials of a tuning, each over all of its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from limen.lab.records import TrialRow


@dataclass(frozen=True)
class Tried:
    """What one trial of one activation came to."""

    activation: str
    common: bool
    learning_rate: float
    chosen: bool
    scores: tuple[float, ...]
    """One a seed, in their order; NaN of one that failed."""
    failure: str
    """Why the first of those failed; empty where none did."""

    @property
    def score(self) -> float:
        """The mean; NaN where a seed failed."""
        return fmean(self.scores)

    @property
    def failed(self) -> bool:
        """Whether it counted as worse than any other."""
        return not math.isfinite(self.score)


def tried(rows: Iterable[TrialRow]) -> tuple[Tried, ...]:
    """The trials of which these are the rows, in their order."""
    found: dict[tuple[str, int], list[TrialRow]] = {}
    for row in rows:
        found.setdefault((row.activation, row.trial), []).append(row)
    return tuple(map(_over_seeds, found.values()))


def _over_seeds(rows: list[TrialRow]) -> Tried:
    first = rows[0]
    return Tried(
        activation=first.activation,
        common=first.common,
        learning_rate=first.learning_rate,
        chosen=first.chosen,
        scores=tuple(row.score for row in rows),
        failure=next((row.failure for row in rows if row.status == "failed"), ""),
    )
