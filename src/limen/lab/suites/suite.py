"""What a suite is: problems with their settings, and what must hold among them before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from limen.errors import SpecError
from limen.lab.metric import PERCENT, Metric
from limen.lab.settings import StudySettings
from limen.lab.suites.folder import OURS
from limen.lab.tasks import declared

RELATIVE, POINTS = "relative", "points"
DIFFERENCES = (RELATIVE, POINTS)
"""How errors of different problems are compared: as a part of the baseline's error, or in points."""
LONGEST_NAME = 100
"""Characters."""


@dataclass(frozen=True)
class Problem:
    """Data, a network and a task, with all other settings."""

    name: str
    settings: StudySettings

    @property
    def measure(self) -> Metric:
        """What decides it."""
        return declared.find(self.settings.task).measure


@dataclass(frozen=True)
class Suite:
    """Problems over which the same activations are compared."""

    title: str
    differences: str
    problems: tuple[Problem, ...]

    @property
    def first(self) -> StudySettings:
        """The first problem's settings; activations and baseline are those of all."""
        return self.problems[0].settings

    def check(self) -> None:
        """Raise for what cannot be one suite.

        Raises:
            SpecError: naming the problem.
        """
        if not self.problems:
            raise SpecError("there is no problem; add one below a line [[problem]], with data and network.")
        seen: set[str] = set()
        for problem in self.problems:
            _check_name(problem.name)
            if problem.name.casefold() in seen:
                raise SpecError(
                    f"two problems are called {problem.name!r}, and each has a folder of its name; give one of them a "
                    "name."
                )
            seen.add(problem.name.casefold())
            self._check_alike(problem)
            refused = why_not(problem.measure, self.differences)
            if refused:
                raise SpecError(f"problem {problem.name!r} cannot be combined with the others: {refused}.")

    def _check_alike(self, problem: Problem) -> None:
        mine, first = problem.settings, self.first
        for what, of_mine, of_first in (
            ("activations", sorted(mine.activations), sorted(first.activations)),
            ("baseline", mine.baseline, first.baseline),
        ):
            if of_mine != of_first:
                raise SpecError(
                    f"{what} of problem {problem.name!r}: {of_mine!r}, and of {self.problems[0].name!r}: {of_first!r}; "
                    f"one answer needs the same in all, so name {what} in [defaults] alone."
                )
        if len(mine.activations) < 2:
            raise SpecError("a suite compares activations, and one was named; name two or more in [defaults].")
        if mine.devices > 1:
            raise SpecError(
                f"devices {mine.devices} of problem {problem.name!r} is not possible: a suite trains each run on one "
                "device; leave it out."
            )


def _check_name(name: str) -> None:
    """Raise where a name is none of a folder inside of the suite's."""
    if not name or name.startswith(".") or any(char in "/\\:" or not char.isprintable() for char in name):
        raise SpecError(
            f"the name {name!r} is not possible: it names a folder inside of --out, so give letters, digits, '-', '_' "
            "and '.', the last not first."
        )
    if len(name) > LONGEST_NAME or name.casefold() in OURS:
        raise SpecError(f"the name {name!r} is not possible: it is too long, or a file of the suite; give another.")


def why_not(measure: Metric, differences: str) -> str:
    """Why errors by this measure cannot be compared so; empty where they can.

    >>> from limen.lab.metric import ACCURACY, LOSS
    >>> why_not(ACCURACY, "points"), why_not(LOSS, "points")
    ('', "loss is not in percent; give differences = 'relative'")
    """
    if differences == POINTS:
        return "" if measure.unit == PERCENT else f"{measure.title} is not in percent; give differences = 'relative'"
    best = measure.bounds[1] if measure.higher_is_better else measure.bounds[0]
    return "" if math.isfinite(best) else f"{measure.title} has no best value, and so no error; leave the problem out"
