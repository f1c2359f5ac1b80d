"""What a report is made from: the stored records of one study, and nothing that would need training again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from limen.lab.declaration import Declaration
from limen.lab.metric import Metric
from limen.lab.records import Asked, CostRow, DataFacts, RunRecord, SummaryRow, TrialRow
from limen.lab.settings import StudySettings
from limen.selection import Plan

MANY = 100
"""Runs from which on a page groups: it draws some activations, some layers, and bands for seeds."""
MOST_DRAWN = 12
"""Activations that are drawn of many runs; the tables have all."""


@dataclass(frozen=True)
class Contents:
    """Everything the page shows. Every tuple may be empty, and any number may be NaN."""

    task: Declaration
    settings: StudySettings
    data: DataFacts
    environment: dict[str, str]
    runs: tuple[RunRecord, ...]
    costs: tuple[CostRow, ...]
    summary: tuple[SummaryRow, ...]
    command: str = ""
    """The command line that makes the whole study."""
    formulas: dict[str, str] = field(default_factory=dict)
    """Formula of each activation spec, as text; optional."""
    plan: Plan | None = None
    """What a selection chose, over all its seeds."""
    recipe: str = ""
    """The recipe that the study follows."""
    quick: bool = False
    """Whether that recipe was scaled down."""
    asked: tuple[Asked, ...] = ()
    """What the study began with and what was added later."""
    trials: tuple[TrialRow, ...] = ()
    """Of its tuning, where there was one."""
    records: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Where the record of each activation and seed lies, from the page; those that are beside it."""

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """Every spec once: those of the settings in their order, then any that only the records know."""
        recorded = [*(run.activation for run in self.runs), *(row.activation for row in self.summary)]
        return tuple(dict.fromkeys([*self.settings.compared, *recorded]))

    @property
    def metric(self) -> Metric:
        """What the summary is of."""
        return self.task.metric(self.summary[0].metric) if self.summary else self.task.measure

    @property
    def failures(self) -> tuple[RunRecord, ...]:
        """The runs that did not finish."""
        return tuple(run for run in self.runs if run.status == "failed")

    @property
    def heldout(self) -> str:
        """What the curves were watched on: the paper's protocol looks at the test set after every epoch."""
        return "test" if self.settings.test_chooses else "validation"

    def finished(self, activation: str) -> tuple[RunRecord, ...]:
        """The finished runs of one activation, by seed."""
        return self._finished.get(activation, ())

    @cached_property
    def _finished(self) -> dict[str, tuple[RunRecord, ...]]:
        found: dict[str, list[RunRecord]] = {}
        for run in self.runs:
            if run.status == "finished":
                found.setdefault(run.activation, []).append(run)
        return {name: tuple(sorted(runs, key=lambda run: run.seed)) for name, runs in found.items()}

    @property
    def many(self) -> bool:
        """Whether there are more runs than a page can show one by one."""
        return len(self.runs) > MANY

    @cached_property
    def drawn(self) -> tuple[str, ...]:
        """The activations in the figures: all, or of many runs the baseline and those with the best means."""
        if not self.many or len(self.activations) <= MOST_DRAWN:
            return self.activations
        known = [row for row in self.summary if math.isfinite(row.mean) and row.activation in self._finished]
        ranked = sorted(known, key=lambda row: -self.metric.goodness(row.mean))
        best = [row.activation for row in ranked if row.activation != self.settings.baseline][: MOST_DRAWN - 1]
        return tuple(name for name in self.activations if name in {self.settings.baseline, *best})
