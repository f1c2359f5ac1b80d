"""The folder of a study: every file is written whole or not at all, and a run is a file.

``study.json`` (settings, data, versions, when what was asked for), ``runs/*.json`` (one a run, the truth),
``trials/*.json`` (the same of a tuning), ``cost.json``; from these come ``runs.csv``, ``summary.csv``, ``trials.csv``
and ``report.html``. Whatever is read is checked whole, and that it belongs to the study of the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import model_validator

from limen.collecting import without_collection
from limen.errors import PlanError, StudyError
from limen.lab.records import CostRow, DataFacts, Origin, Record, RunRecord, SummaryRow, TrialRow
from limen.lab.settings import StudySettings
from limen.lab.study.forms import as_csv, as_json, parsed, parsed_at_once, run_row, unreadable
from limen.lab.study.holding import Held, hold
from limen.lab.study.study import Study, asked_now, check_same, difference, grown
from limen.lab.tasks import declared
from limen.selection import Plan
from limen.writing import write_atomically

OURS = (
    "study.json",
    "runs",
    "trials",
    "runs.csv",
    "summary.csv",
    "trials.csv",
    "cost.json",
    "plan.json",
    "report.html",
    "reproduction.csv",
)


class _Costs(Record):
    """What ``cost.json`` holds."""

    rows: tuple[CostRow, ...]
    origin: Origin | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, value: Any) -> Any:
        """The first version was the rows alone."""
        return {"rows": value} if isinstance(value, list) else value


class StudyFolder:
    """Reads and writes the files of one study."""

    def __init__(self, path: Path, runs: str = "runs") -> None:
        self.path, self._runs = path, runs

    @property
    def trials(self) -> StudyFolder:
        """The same study, with the trials of its tuning in the place of its runs."""
        return StudyFolder(self.path, "trials")

    def lock(self) -> Held:
        """Take the folder for this process, or say that another has it; released when the process ends."""
        return hold(self.path)

    def open(
        self,
        settings: StudySettings,
        data: DataFacts,
        environment: dict[str, str],
        command: str,
        *,
        recipe: str = "",
        quick: bool = False,
        formulas: Mapping[str, str] | None = None,
    ) -> Study:
        """Start a study here, or continue the one that is here if it is the same; else say what differs."""
        known = self.read_study()
        study = Study(
            settings=settings,
            data=data,
            environment=environment,
            command=command,
            recipe=recipe,
            quick=quick,
            formulas={**(formulas or {})},
            asked=(asked_now(settings.activations, settings.seeds),),
        )
        if known is None:
            foreign = [name for name in OURS if (self.path / name).exists()]
            if foreign:
                raise StudyError(
                    f"{self.path} holds {foreign[0]!r} but no study.json, so it is not a study to continue; "
                    "choose another --out."
                )
        else:
            check_same(known, study, self.path)
            study = grown(known, study)
        self.write_study(study)
        return study

    def write_study(self, study: Study) -> None:
        """``study.json``."""
        write_atomically(self.path / "study.json", as_json(study.model_dump_json()))

    def require_study(self) -> None:
        """Raise where the folder is gone in which a study was begun: what is written there now belongs to none."""
        if not (self.path / "study.json").exists():
            raise StudyError(
                f"the folder {self.path} was removed while its study ran, and with it the runs that it held; what has "
                "ended since is kept where that could be, and the same command goes on."
            )

    def read_study(self) -> Study | None:
        """The study of this folder, or None where there is none."""
        path = self.path / "study.json"
        if not path.exists():
            return None
        return parsed(path, Study)

    def run_path(self, activation: str, seed: int) -> Path:
        """Where a run's record lies."""
        return self.path / self.record_name(activation, seed)

    def record_name(self, activation: str, seed: int) -> str:
        """The same from the folder, as links have it."""
        return f"{self._runs}/{_slug(activation, seed)}.json"

    def log_path(self, activation: str, seed: int) -> Path:
        """Where what was said while a run was computed lies."""
        return self.path / "logs" / f"{_slug(activation, seed)}.log"

    def read_run(self, activation: str, seed: int) -> RunRecord | None:
        """The record of a run that is done, finished or failed; None where it is still to do.

        Raises:
            StudyError: if it cannot be read, or is another run's, or another study's.
        """
        study = self.read_study()
        path = self.run_path(activation, seed)
        return self._read_run(path, activation, seed, study.origin if study else None)

    def _read_run(self, path: Path, activation: str, seed: int, mine: Origin | None) -> RunRecord | None:
        if not path.exists():
            return None
        run = parsed_at_once(path, RunRecord) or parsed(path, RunRecord)
        if (run.activation, run.seed) != (activation, seed):
            raise StudyError(
                f"{path} holds a run of {run.activation!r} with seed {run.seed}, and by its name it must be of "
                f"{activation!r} with seed {seed}; delete it to make it anew."
            )
        _check_belongs(path, run.origin, mine)
        if run.plan is not None:
            _check_plan(path, run.plan)
        return run

    def read_runs(
        self, settings: StudySettings, keep: Callable[[RunRecord], RunRecord] = lambda run: run
    ) -> tuple[RunRecord, ...]:
        """All runs that are done, by activation in the order of the settings and then by seed.

        Args:
            settings: whose activations and seeds.
            keep: what of each is kept, where all of many would fill the memory; every one is checked whole before.

        Raises:
            StudyError: as :meth:`read_run`, and if a finished run has not the metrics of the task.
        """
        study = self.read_study()
        mine, found = study.origin if study else None, []
        with without_collection():
            for activation in settings.compared:
                for seed in settings.seeds:
                    path = self.run_path(activation, seed)
                    run = self._read_run(path, activation, seed, mine)
                    if run is not None:
                        check_metrics(run, settings.task, path, "delete it to make it anew")
                        found.append(keep(run))
        return tuple(found)

    def count_runs(self) -> int:
        """How many records there are, none of them looked into."""
        home = self.path / self._runs
        return sum(name.endswith(".json") for name in os.listdir(home)) if home.is_dir() else 0

    def write_run(self, run: RunRecord) -> None:
        """Keep a run; once this returns it is never trained again."""
        path = self.run_path(run.activation, run.seed)
        write_atomically(path, as_json(run.model_dump_json(), indent=None))

    def read_costs(self) -> tuple[CostRow, ...]:
        """The measured costs, or none.

        Raises:
            StudyError: if they cannot be read, or are another study's.
        """
        path = self.path / "cost.json"
        if not path.exists():
            return ()
        found = parsed(path, _Costs)
        study = self.read_study()
        _check_belongs(path, found.origin, study.origin if study else None)
        return found.rows

    def write_costs(self, rows: Iterable[CostRow], origin: Origin | None = None) -> None:
        """Keep the measured costs."""
        write_atomically(self.path / "cost.json", as_json(_Costs(rows=tuple(rows), origin=origin).model_dump_json()))

    def write_tables(self, runs: Iterable[RunRecord], summary: Iterable[SummaryRow]) -> None:
        """``runs.csv`` and ``summary.csv``."""
        write_atomically(self.path / "runs.csv", as_csv([run_row(run) for run in runs]))
        write_atomically(self.path / "summary.csv", as_csv([row.model_dump() for row in summary]))

    def write_trials(self, trials: Iterable[TrialRow]) -> None:
        """``trials.csv``."""
        write_atomically(self.path / "trials.csv", as_csv([row.model_dump() for row in trials]))

    def write_report(self, html: str) -> Path:
        """``report.html``."""
        path = self.path / "report.html"
        write_atomically(path, html)
        return path

    def write_plan(self, text: str) -> None:
        """``plan.json``."""
        write_atomically(self.path / "plan.json", text)


def check_metrics(run: RunRecord, task: str, where: str | Path, remedy: str) -> None:
    """Raise where a finished run has not what its task measures, or a number that cannot be.

    Raises:
        StudyError: naming where it stands.
    """
    refused = declared.find(task).refused(run.metrics) if run.status == "finished" else ""
    if refused:
        raise StudyError(f"{where} cannot be used: of a finished run {refused}; {remedy}.")


@cache
def _slug(activation: str, seed: int) -> str:
    """A run as a file name; a spec that is none gets a hash as well."""
    slug = re.sub(r"[^a-z0-9_]+", "-", activation.lower()).strip("-")[:60]
    if slug != activation:
        slug += "-" + hashlib.sha256(activation.encode()).hexdigest()[:8]
    return f"{slug}-seed{seed}"


def _check_belongs(path: Path, origin: Origin | None, mine: Origin | None) -> None:
    """Raise where what a file holds was made for another study than that of its folder."""
    other = difference(mine, origin) if mine is not None and origin is not None else ""
    if other:
        raise StudyError(
            f"{path} belongs to another study ({other}); put the study.json back that it was made with, or delete "
            f"{path.name} to make it anew."
        )


def _check_plan(path: Path, plan: Mapping[str, Any]) -> None:
    try:
        Plan.from_dict(plan, "plan")
    except PlanError as error:
        raise unreadable(path, "plan", str(error).rstrip(".")) from None
