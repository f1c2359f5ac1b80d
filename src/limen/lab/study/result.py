"""What a study came to: from the stored runs to tables and report."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from limen.catalogue import entries
from limen.errors import SpecError, StudyError
from limen.lab.declaration import Declaration
from limen.lab.records import CostRow, RunRecord, SummaryRow, TrialRow
from limen.lab.report.condensing import Condensed
from limen.lab.report.contents import Contents
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.study.command import whole_command
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.summary import summarise
from limen.lab.study.trials import read as read_trials
from limen.lab.tasks import declared
from limen.naming import parse
from limen.selection import Plan


@dataclass(frozen=True)
class Result:
    """A study that is complete."""

    task: Declaration
    study: Study
    runs: tuple[RunRecord, ...]
    costs: tuple[CostRow, ...]
    summary: tuple[SummaryRow, ...]
    report: Path
    plan: Plan | None = None
    """What a selection chose, over all its seeds."""
    trials: tuple[TrialRow, ...] = ()
    """Of the tuning, where there was one."""

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """The runs whose loss stopped being finite, or for which there was no memory."""
        return tuple(run for run in self.runs if run.status == "failed")


def contents(task: Declaration, folder: StudyFolder, study: Study) -> Contents:
    """Everything the report is made from, as it is stored now."""
    kept = Condensed(folder.count_runs(), len(study.settings.compared))
    runs, costs = folder.read_runs(study.settings, kept), folder.read_costs()
    return Contents(
        task=task,
        settings=study.settings,
        data=study.data,
        environment=study.environment,
        runs=runs,
        costs=costs,
        summary=summarise(task, study.settings, runs, costs),
        command=whole_command(study),
        formulas={**study.formulas, **_known(study.settings, without=study.formulas)},
        plan=searched_plan(runs),
        recipe=study.recipe,
        quick=study.quick,
        asked=study.asked,
        trials=read_trials(folder, study),
        records={(run.activation, run.seed): folder.record_name(run.activation, run.seed) for run in runs},
    )


def conclude(task: Declaration, folder: StudyFolder, study: Study) -> Result:
    """Summarise what is stored, and write the tables and the report."""
    from limen.lab.report.page import render  # with Matplotlib, which takes a second to import

    found = contents(task, folder, study)
    folder.write_tables(found.runs, found.summary)
    if found.trials:
        folder.write_trials(found.trials)
    if found.plan is not None:
        folder.write_plan(found.plan.as_json())
    page = folder.write_report(render(found))
    return Result(task, study, found.runs, found.costs, found.summary, page, found.plan, found.trials)


def formulas(settings: StudySettings) -> dict[str, str]:
    """The formula of each activation, to be stored: the class of one may be gone when a report is made again."""
    named = [name for name in settings.activations if not (isinstance(settings, SelectSettings) and name == OPTIMIZED)]
    return {name: _formula(parse(settings.spec(name))[0]) for name in named}


def _formula(name: str) -> str:
    """From the table, unless the classes are loaded, or the name is none that comes with limen."""
    if name in entries() and "limen.activations" not in sys.modules:
        return entries()[name].description.formula
    from limen.activations.describe import formula_text  # with torch and SymPy
    from limen.activations.registry import find

    return formula_text(find(name))


def _known(settings: StudySettings, without: Collection[str]) -> dict[str, str]:
    """Those that are not stored, of the activations that are still there."""
    found: dict[str, str] = {}
    for name in settings.activations:
        if name in without:
            continue
        with suppress(SpecError):
            found |= formulas(settings.model_copy(update={"activations": (name,)}))
    return found


def searched_plan(runs: Sequence[RunRecord]) -> Plan | None:
    """The plan of all searches that finished, over their seeds; None where none did."""
    plans = [Plan.from_dict(run.plan) for run in runs if run.plan and run.activation == SEARCHED]
    if not plans:
        return None
    from limen.selection import merge  # with torch, of which only a selection has need

    return merge(plans)


def require(folder: StudyFolder) -> tuple[Declaration, Study]:
    """The study of a folder and its task.

    Raises:
        StudyError: if there is none.
    """
    study = folder.read_study()
    if study is None:
        raise StudyError(
            f"there is no study in {folder.path}: study.json is missing; make one with 'limen compare --out "
            f"{folder.path}'."
        )
    return declared.find(study.settings.task), study


def report(out: Path) -> Result:
    """Make the tables and the report again from the stored records."""
    folder = StudyFolder(out)
    task, study = require(folder)
    with folder.lock():
        return conclude(task, folder, study)
