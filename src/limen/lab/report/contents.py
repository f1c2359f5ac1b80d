"""What a report is made from: the stored records of one study, and nothing that would need training again."""

from __future__ import annotations

from dataclasses import dataclass, field

from limen.lab.declaration import Declaration
from limen.lab.metric import Metric
from limen.lab.records import Asked, CostRow, DataFacts, RunRecord, SummaryRow
from limen.lab.settings import StudySettings
from limen.selection import Plan


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

    @property
    def activations(self) -> tuple[str, ...]:
        """Every spec once: those of the settings in their order, then any that only the records know."""
        recorded = [*(run.activation for run in self.runs), *(row.activation for row in self.summary)]
        return tuple(dict.fromkeys([*self.settings.activations, *recorded]))

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
        mine = (run for run in self.runs if run.activation == activation and run.status == "finished")
        return tuple(sorted(mine, key=lambda run: run.seed))
