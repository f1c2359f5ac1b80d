"""How many seeds a difference needs and what they cost here: before a study, or from a stored pilot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from limen.errors import SpecError, StudyError
from limen.lab.metric import Metric
from limen.lab.records import RunRecord
from limen.lab.statistics import LEVEL, detectable, seeds_for
from limen.lab.statistics.planning import MOST, seeds_for_equivalence
from limen.lab.study import rows
from limen.lab.study.rows import Rows
from limen.lab.study.summary import compared

ASSUMED = "assumed"
"""What stands for an activation where there is no pilot."""


@dataclass(frozen=True)
class Needed:
    """What one activation takes to be told from the baseline. Differences are in the measure's unit."""

    activation: str
    deviation: float
    """Of the paired differences."""
    pairs: int
    """In the pilot; 0 without one."""
    detectable: float
    """The smallest difference that the pilot's seeds show; NaN without one."""
    to_differ: int | None
    """Seeds that show the difference, in 80 of 100 studies; None for more than 10,000."""
    to_equate: int | None
    """Seeds that show two equal activations to be equivalent within it."""

    @property
    def seeds(self) -> int | None:
        """Seeds for both."""
        return None if self.to_differ is None or self.to_equate is None else max(self.to_differ, self.to_equate)


@dataclass(frozen=True)
class SeedPlan:
    """Seeds for a difference, for each activation; by paired t tests at 5 % over all comparisons."""

    difference: float
    unit: str
    needed: tuple[Needed, ...]
    seconds_a_seed: float
    """All activations once, in the pilot; NaN without one."""
    done: int
    """Seeds that the pilot has of all of them."""

    @property
    def seeds(self) -> int | None:
        """Seeds for every activation and both verdicts; None for more than 10,000."""
        each = [one.seeds for one in self.needed if one.seeds is not None]
        return max(each) if len(each) == len(self.needed) else None

    @property
    def seconds(self) -> float:
        """What the seeds that the pilot lacks take here; NaN where that is not known."""
        return math.nan if self.seeds is None else max(0, self.seeds - self.done) * self.seconds_a_seed


def plan_seeds(
    difference: float, *, sd: float | None = None, comparisons: int = 1, pilot: str | Path | None = None
) -> SeedPlan:
    """How many seeds show a difference, or that there is none of that size, and what they cost.

    Args:
        difference: to be found, and the margin of equivalence; in the unit of ``sd``, of a pilot in its measure's
            (points of percents).
        sd: the standard deviation of the paired differences, where there is no pilot.
        comparisons: how many activations are compared with the baseline; of a pilot its own.
        pilot: the folder of a study, or of its rows, with two finished seeds or more.

    Raises:
        SpecError: for numbers that cannot be, and for both a pilot and a standard deviation.
        StudyError: if the pilot cannot be read, or says nothing about the spread.

    >>> plan_seeds(0.5, sd=0.6).seeds
    14
    >>> plan_seeds(0.5, sd=0.6, comparisons=4).seeds
    21
    """
    _require_above_zero("the difference", difference)
    if (sd is None) == (pilot is None):
        raise SpecError("seeds are planned from a pilot or from a standard deviation (sd); give one of them.")
    if pilot is not None:
        return _from_pilot(difference, rows.read(Path(pilot)))
    assert sd is not None
    _require_above_zero("the standard deviation", sd)
    if comparisons < 1:
        raise SpecError(f"{comparisons} comparisons are none to plan for; give 1 or more.")
    only = _needed(ASSUMED, difference, sd, 0, comparisons)
    return SeedPlan(difference, "", (only,), math.nan, 0)


def _require_above_zero(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise SpecError(f"{what} is {value}, and must be a finite number above 0, in the measure's unit.")


def _needed(name: str, difference: float, deviation: float, pairs: int, comparisons: int) -> Needed:
    level = (1 - LEVEL) / comparisons
    return Needed(
        activation=name,
        deviation=deviation,
        pairs=pairs,
        detectable=detectable(deviation, pairs, level),
        to_differ=seeds_for(difference, deviation, level),
        to_equate=seeds_for_equivalence(difference, deviation, level),
    )


def _from_pilot(difference: float, pilot: Rows) -> SeedPlan:
    measure, settings = pilot.task.measure, pilot.study.settings
    refused = measure.margin_refused(difference)
    if refused:
        raise SpecError(f"a difference of {difference:g} cannot be: {refused}.")
    found = compared(pilot.task, settings, pilot.runs)
    spread = {name: one for name, one in found.items() if one.has_spread}
    if not spread:
        raise StudyError(
            f"the pilot in {pilot.folder} says nothing about the spread between seeds: it needs two finished seeds of "
            "the baseline and another activation, with differences that are not the same; run more seeds, or give --sd."
        )
    needed = tuple(
        _needed(name, difference, measure.in_its_unit(one.deviation), one.pairs, len(spread))
        for name, one in spread.items()
    )
    a_seed = _seconds_a_seed({*map(settings.against, spread), *spread}, pilot.runs)
    done = min(one.pairs for one in spread.values())
    return SeedPlan(difference, measure.difference_unit, needed, a_seed, done)


def _seconds_a_seed(names: Iterable[str], runs: Sequence[RunRecord]) -> float:
    finished = [[run.seconds for run in runs if run.activation == name and run.status == "finished"] for name in names]
    return sum(fmean(seconds) for seconds in finished)


def said(seeds: int | None) -> str:
    """A number of seeds as a table has it.

    >>> said(12), said(None)
    ('12', 'more than 10,000')
    """
    return f"more than {MOST:,}" if seeds is None else f"{seeds:,}"


def size_said(measure: Metric, size: float) -> str:
    """A difference or deviation with its unit.

    >>> from limen.lab.metric import ACCURACY
    >>> size_said(ACCURACY, 0.5)
    '0.5 points'
    >>> size_said(ACCURACY, 1.0)
    '1 point'
    """
    unit = measure.difference_unit
    return f"{size:.3g} {'point' if size == 1 and unit == 'points' else unit}".rstrip()
