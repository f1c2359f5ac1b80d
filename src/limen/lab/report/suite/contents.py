"""What a suite's page is made from. Changes of errors are in percent of the baseline's or in points; less is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from limen.lab.metric import Metric
from limen.lab.statistics import Interval, Profile, Ranks

NOTHING = Interval(math.nan, math.nan, math.nan)
FEWEST_PROBLEMS = 3
"""From which on an interval over problems is given: with two its t has one degree of freedom."""


@dataclass(frozen=True)
class Cell:
    """One activation on one problem."""

    change: Interval
    """Of its error, over seeds."""
    verdict: str
    """Of the problem's own study."""
    runs: int
    failed: int


@dataclass(frozen=True)
class ProblemLine:
    """One problem, with what it came to or why it came to nothing."""

    name: str
    failure: str = ""
    measure: Metric | None = None
    task: str = ""
    data: str = ""
    network: str = ""
    seeds: int = 0
    """The most that any activation has finished."""
    missing: int = 0
    """Runs still to come."""
    baseline: float = math.nan
    """The mean of the measure."""
    cells: Mapping[str, Cell] = field(default_factory=dict)
    report: str = ""
    """Where its own page lies, from the suite's."""
    sequential: bool = False
    """Whether results decided how many seeds there are."""
    tuned: bool = False
    """Whether it has runs at rates of each activation's own as well, which only its own report tells of."""

    @property
    def counts(self) -> bool:
        """Whether it is in the answer."""
        return not self.failure


@dataclass(frozen=True)
class SuiteLine:
    """One activation over all problems: a row of ``suite.csv``."""

    activation: str
    baseline: str
    problems: int
    """That it could be compared on."""
    pairs: int
    """Runs beside a run of the baseline, of all problems."""
    change: float
    """Of the error: in percent of the baseline's, or in points; the mean over problems."""
    change_low: float
    change_high: float
    """For these problems: the seeds are the replicates."""
    p: float
    p_holm: float
    verdict: str
    like_low: float
    like_high: float
    """For problems like these: the problems are the replicates; NaN for fewer than three."""
    superior: float
    superior_low: float
    superior_high: float
    """The chance that a run is better than the baseline's of the same seed."""
    rank: float
    """Average over problems; NaN for fewer than two."""
    reach_pairs: int
    reached: int
    """Of so many runs those that had the baseline's best validation score."""
    time_ratio: float
    time_ratio_low: float
    time_ratio_high: float
    """Training time to the score that both reach, over the baseline's; a geometric mean, for these problems."""
    time_at_least: float
    """To the baseline's own score, no less than this."""


@dataclass(frozen=True)
class SuiteContents:
    """Everything the page shows."""

    title: str
    baseline: str
    relative: bool
    """Whether changes are in percent of the baseline's error; else in points."""
    problems: tuple[ProblemLine, ...]
    lines: tuple[SuiteLine, ...]
    ranks: Ranks | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    command: str = ""

    @property
    def unit(self) -> str:
        """Of changes."""
        return "%" if self.relative else "points"

    @property
    def counted(self) -> tuple[ProblemLine, ...]:
        """The problems that the answer is over."""
        return tuple(problem for problem in self.problems if problem.counts)

    @property
    def failed(self) -> tuple[ProblemLine, ...]:
        """The others."""
        return tuple(problem for problem in self.problems if not problem.counts)

    @property
    def activations(self) -> tuple[str, ...]:
        """All, the baseline first."""
        return (self.baseline, *(line.activation for line in self.lines))
