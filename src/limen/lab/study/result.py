"""What a study came to: from the stored runs to tables and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limen.activations.describe import formula_text
from limen.activations.registry import find, parse
from limen.errors import StudyError
from limen.lab.records import CostRow, RunRecord, SummaryRow
from limen.lab.report import Contents, render
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.study.store import Study, StudyFolder
from limen.lab.study.summary import summarise
from limen.lab.tasks import registry
from limen.lab.training.task import Task
from limen.selection import Plan, merge


@dataclass(frozen=True)
class Result:
    """A study that is complete."""

    task: Task
    study: Study
    runs: tuple[RunRecord, ...]
    costs: tuple[CostRow, ...]
    summary: tuple[SummaryRow, ...]
    report: Path
    plan: Plan | None = None
    """What a selection chose, over all its seeds."""

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """The runs whose loss stopped being finite, or for which there was no memory."""
        return tuple(run for run in self.runs if run.status == "failed")


def conclude(task: Task, folder: StudyFolder, study: Study) -> Result:
    """Summarise what is stored, and write the tables and the report."""
    runs, costs = folder.read_runs(study.settings), folder.read_costs()
    summary = summarise(task, study.settings, runs, costs)
    folder.write_tables(runs, summary)
    plan = searched_plan(runs)
    if plan is not None:
        folder.write_plan(plan.as_json())
    contents = Contents(
        task=task,
        settings=study.settings,
        data=study.data,
        environment=study.environment,
        runs=runs,
        costs=costs,
        summary=summary,
        command=study.command,
        formulas=_formulas(study.settings),
        plan=plan,
        recipe=study.recipe,
        quick=study.quick,
    )
    return Result(task, study, runs, costs, summary, folder.write_report(render(contents)), plan)


def _formulas(settings: StudySettings) -> dict[str, str]:
    named = [name for name in settings.activations if not (isinstance(settings, SelectSettings) and name == OPTIMIZED)]
    return {name: formula_text(find(parse(settings.spec(name))[0])) for name in named}


def searched_plan(runs: Sequence[RunRecord]) -> Plan | None:
    """The plan of all searches that finished, over their seeds; None where none did."""
    plans = [Plan.from_dict(run.plan) for run in runs if run.plan and run.activation == SEARCHED]
    return merge(plans) if plans else None


def report(out: Path) -> Result:
    """Make the tables and the report again from the stored records."""
    folder = StudyFolder(out)
    study = folder.read_study()
    if study is None:
        raise StudyError(
            f"there is no study in {out}: study.json is missing; make one with 'limen compare --out {out}'."
        )
    with folder.lock():
        return conclude(registry.find(study.settings.task), folder, study)
