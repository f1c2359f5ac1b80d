"""The rows of a study without its machine: what is kept in a repository, and what claims are judged from.

A folder of rows holds ``study.json`` (settings, data, versions; no path), ``runs.csv``, ``curves.csv`` (an epoch a row)
and, where there are any, ``cost.csv``, ``trials.csv``, ``gradients.csv``, ``sites.csv`` and ``plan.json``. It reads
like the study's own folder.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from pydantic import ValidationError

from limen.errors import PlanError, StudyError
from limen.lab.declaration import Declaration
from limen.lab.numerals import stored_fields
from limen.lab.records import CostRow, EpochRow, GradientRow, RunRecord, SiteRow, TrialRow
from limen.lab.study import trials
from limen.lab.study.forms import LARGEST_RECORD, NO_COLUMNS, as_csv, as_json, run_row
from limen.lab.study.result import searched_plan
from limen.lab.study.store import StudyFolder, check_metrics
from limen.lab.study.study import Study
from limen.lab.tasks import declared
from limen.reading import read_whole
from limen.selection import Plan
from limen.writing import write_atomically

OF_A_RUN = frozenset(RunRecord.model_fields) - NO_COLUMNS
"""The columns of ``runs.csv`` that are no metrics."""
PARTS = {
    "curves": ("curves.csv", EpochRow),
    "gradients": ("gradients.csv", GradientRow),
    "sites": ("sites.csv", SiteRow),
}
"""What a run has several rows of: its field, the file, what a row is."""
COSTS, TRIALS = "cost.csv", "trials.csv"
PLACES = {"--data": "data", "--test-data": "data", "--out": "runs"}
"""The options of a command whose paths are written as lying in a folder of this name."""


@dataclass(frozen=True)
class Rows:
    """What a study measured."""

    folder: Path
    study: Study
    runs: tuple[RunRecord, ...]
    plan: Plan | None = None
    costs: tuple[CostRow, ...] = ()
    trials: tuple[TrialRow, ...] = ()

    @cached_property
    def task(self) -> Declaration:
        """The task that it is a study of."""
        return declared.find(self.study.settings.task)

    @property
    def recipe(self) -> str:
        """The name of the recipe that it follows; empty for none."""
        return PurePath(self.study.recipe).stem if self.study.recipe else ""

    @property
    def name(self) -> str:
        """What its folder of rows is called."""
        return (self.recipe or self.folder.resolve().name) + ("-quick" if self.study.quick and self.recipe else "")


def read(folder: Path) -> Rows:
    """Read a study's folder or a folder of rows.

    Raises:
        StudyError: if it is neither, or with the file and the line that cannot be read.
    """
    home = StudyFolder(folder)
    study = home.read_study()
    if study is None:
        raise StudyError(f"there is no study in {folder}: study.json is missing.")
    if not is_stored(folder):
        runs = home.read_runs(study.settings)
        return Rows(folder, study, runs, searched_plan(runs), home.read_costs(), trials.read(home, study))
    task = study.settings.task
    costs = tuple(_made(CostRow, _given(row), folder / COSTS, line) for line, row in _lines(folder / COSTS))
    tried = tuple(_made(TrialRow, row, folder / TRIALS, line) for line, row in _lines(folder / TRIALS))
    return Rows(folder, study, _read_runs(folder, task), _read_plan(folder / "plan.json"), costs, tried)


def is_stored(folder: Path) -> bool:
    """Whether a folder holds a study's rows, and not the study itself."""
    return (folder / "runs.csv").exists() and not (folder / "runs").is_dir()


def find(folders: Iterable[Path]) -> list[Rows]:
    """All studies in these folders, each a study itself or a folder of several.

    Raises:
        StudyError: if a folder is missing or holds none.
    """
    found = []
    for folder in folders:
        if (folder / "study.json").exists():
            found.append(read(folder))
            continue
        if not folder.is_dir():
            raise StudyError(f"there is no folder {folder}; name folders of studies, or of their rows.")
        inside = [read(path.parent) for path in sorted(folder.glob("*/study.json"))]
        if not inside:
            raise StudyError(f"{folder} holds no study: neither study.json nor a folder with one.")
        found += inside
    return found


def keep(rows: Rows, home: Path) -> Path:
    """Write the rows to a folder of their own in ``home``, without any path of this machine; return that folder."""
    folder = home / rows.name
    write_atomically(folder / "study.json", as_json(without_paths(rows.study).model_dump_json()) + "\n")
    write_atomically(folder / "runs.csv", as_csv([run_row(run) for run in rows.runs]))
    for field, (name, _) in PARTS.items():
        parts = _parts(rows.runs, field)
        if parts:
            write_atomically(folder / name, as_csv(parts))
    if rows.costs:
        write_atomically(folder / COSTS, as_csv([stored_fields(row) for row in rows.costs]))
    if rows.trials:
        write_atomically(folder / TRIALS, as_csv([stored_fields(row) for row in rows.trials]))
    if rows.plan is not None:
        write_atomically(folder / "plan.json", rows.plan.as_json())
    return folder


def without_paths(study: Study) -> Study:
    """The study with nothing of where it was made: of a path the last name remains, below ``data`` or ``runs``."""
    settings = study.settings.model_copy(
        update={
            "data": _shortened(study.settings.data, "data"),
            "test_data": _shortened(study.settings.test_data, "data") if study.settings.test_data else None,
            "data_dir": "data" if study.settings.data_dir else None,
        }
    )
    recipe = PurePath(study.recipe).stem if study.recipe else ""
    return study.model_copy(
        update={"settings": settings, "recipe": recipe, "command": command_without_paths(study.command)}
    )


def command_without_paths(command: str) -> str:
    """A command without paths.

    >>> command_without_paths("limen reproduce adact-fer --data /me/sets/fer2013 --data-dir ../sets --out /tmp/fer")
    'limen reproduce adact-fer --data data/fer2013 --data-dir data --out runs/fer'
    """
    words, before = [], ""
    for word in shlex.split(command):
        if before == "--data-dir":
            words.append("data")
        elif before in PLACES:
            words.append(_shortened(word, PLACES[before]))
        else:
            words.append(PurePath(word).name if "/" in word else word)
        before = word
    return shlex.join(words)


def _shortened(path: str, place: str) -> str:
    """A path's last part below ``place``; a name stays as it is.

    >>> _shortened("../sets/cats.zip", "data"), _shortened("digits", "data")
    ('data/cats.zip', 'digits')
    """
    return f"{place}/{PurePath(path).name}" if "/" in path or "\\" in path else path


def _parts(runs: Sequence[RunRecord], field: str) -> list[dict[str, Any]]:
    """What belongs to every run in several rows, in six digits."""
    return [
        {"activation": run.activation, "seed": run.seed, **stored_fields(row)}
        for run in runs
        for row in getattr(run, field)
    ]


def _read_runs(folder: Path, task: str) -> tuple[RunRecord, ...]:
    parts: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for field, (name, kind) in PARTS.items():
        for line, row in _lines(folder / name):
            key = row.pop("activation", ""), row.pop("seed", "")
            one = _made(kind, _given(row), folder / name, line)
            parts.setdefault(key, {}).setdefault(field, []).append(one)
    return tuple(
        _run(row, parts.get((row["activation"], row["seed"]), {}), folder / "runs.csv", line, task)
        for line, row in _lines(folder / "runs.csv")
    )


def _run(row: Mapping[str, str], parts: Mapping[str, list[Any]], path: Path, line: int, task: str) -> RunRecord:
    of_run = {key: value for key, value in _given(row).items() if key in OF_A_RUN}
    metrics = {key: value for key, value in _given(row).items() if key not in OF_A_RUN}
    several = {field: tuple(rows) for field, rows in parts.items()}
    found: RunRecord = _made(RunRecord, {**of_run, "metrics": metrics, **several}, path, line)
    check_metrics(found, task, f"{path}, line {line},", "store the rows anew")
    return found


def _given(row: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in row.items() if value}


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with the lines they stand in; none where there is no file."""
    if not path.exists():
        return []
    try:
        text = read_whole(path, LARGEST_RECORD, StudyError).decode()
        found = list(enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2))
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path} is not a CSV file in UTF-8 ({error}); store the rows anew.") from None
    for line, row in found:
        if None in row or None in row.values():
            raise StudyError(f"{path}, line {line}: it has not as many cells as the heading; store the rows anew.")
    return found


def _made(kind: Any, values: Mapping[str, Any], path: Path, line: int) -> Any:
    try:
        return kind(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        reason = problem["msg"].removeprefix("Value error, ").lower()
        raise StudyError(f"{path}, line {line}: {where or 'the row'}: {reason}; store the rows anew.") from None


def _read_plan(path: Path) -> Plan | None:
    try:
        return Plan.load(path) if path.exists() else None
    except PlanError as error:
        raise StudyError(str(error)) from None
