"""The folder of a study: every file is written whole or not at all, and a run is a file.

``study.json`` (settings, data, versions), ``runs/*.json`` (one a run, the truth), ``cost.json``; from these come
``runs.csv``, ``summary.csv`` and ``report.html``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import from_json

from limen.errors import StudyError
from limen.lab.records import CostRow, DataFacts, Record, RunRecord, SummaryRow
from limen.lab.settings import EXTENDABLE, SelectSettings, StudySettings
from limen.reading import read_whole

M = TypeVar("M", bound=BaseModel)

OURS = ("study.json", "runs", "runs.csv", "summary.csv", "cost.json", "plan.json", "report.html", "reproduction.csv")

LARGEST_RECORD = 2**28
"""Bytes of one file that is read."""
VERSION = 2
"""Of the files in JSON. 2 says so in each of them; 1, which did not, is read as it is."""

NO_COLUMNS = frozenset({"metrics", "curves", "layers", "weights", "gradients", "sites", "plan", "shown"})
"""What a run's row leaves out; each metric has a column of its own."""


class Study(BaseModel):
    """What ``study.json`` holds."""

    settings: SelectSettings | StudySettings
    data: DataFacts
    environment: dict[str, str]
    command: str = ""
    recipe: str = ""
    """The recipe it follows, if any."""
    quick: bool = False
    """Whether the recipe was scaled down."""


class _Costs(Record):
    """What ``cost.json`` holds."""

    rows: tuple[CostRow, ...]

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, value: Any) -> Any:
        """The first version was the rows alone."""
        return {"rows": value} if isinstance(value, list) else value


class StudyFolder:
    """Reads and writes the files of one study."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lock(self) -> FileLock:
        """Take the folder for this process, or say that another has it; released when the process ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise StudyError(
                f"the folder {self.path} cannot be made ({error.strerror}: {error.filename}); choose another --out."
            ) from None
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StudyError(
                f"another limen is writing to {self.path}; wait for it, or choose another --out."
            ) from None
        return lock

    def open(
        self,
        settings: StudySettings,
        data: DataFacts,
        environment: dict[str, str],
        command: str,
        *,
        recipe: str = "",
        quick: bool = False,
    ) -> Study:
        """Start a study here, or continue the one that is here if it is the same; else say what differs."""
        known = self.read_study()
        study = Study(
            settings=settings, data=data, environment=environment, command=command, recipe=recipe, quick=quick
        )
        if known is None:
            foreign = [name for name in OURS if (self.path / name).exists()]
            if foreign:
                raise StudyError(
                    f"{self.path} holds {foreign[0]!r} but no study.json, so it is not a study to continue; "
                    "choose another --out."
                )
        else:
            self._check_same(known, study)
            union = {
                "activations": tuple(dict.fromkeys([*known.settings.activations, *settings.activations])),
                "seeds": tuple(sorted({*known.settings.seeds, *settings.seeds})),
            }
            study = study.model_copy(update={"settings": settings.model_copy(update=union)})
        write_atomically(self.path / "study.json", as_json(study.model_dump_json()))
        return study

    def _check_same(self, known: Study, study: Study) -> None:
        before, now = ({"kind": "compare", **one.settings.model_dump()} for one in (known, study))
        before, now = (one | {"recipe": which.recipe} for one, which in ((before, known), (now, study)))
        keys = dict.fromkeys([*now, *before])
        differing = [
            f"{key} {before.get(key)!r} there, {now.get(key)!r} now" for key in keys if _differs(key, before, now)
        ]
        if before["kind"] != now["kind"]:
            differing = [f"made by limen {before['kind']}"]
        if not differing and known.data.fingerprint != study.data.fingerprint:
            differing = [f"the images of {study.data.name!r} have changed since"]
        if differing:
            raise StudyError(
                f"{self.path} holds another study ({'; '.join(differing)}); choose another --out or the same settings."
            )

    def read_study(self) -> Study | None:
        """The study of this folder, or None where there is none."""
        path = self.path / "study.json"
        if not path.exists():
            return None
        return _parsed(path, Study)

    def run_path(self, activation: str, seed: int) -> Path:
        """Where a run's record lies; a spec that is no file name gets a hash as well."""
        slug = re.sub(r"[^a-z0-9_]+", "-", activation.lower()).strip("-")[:60]
        if slug != activation:
            slug += "-" + hashlib.sha256(activation.encode()).hexdigest()[:8]
        return self.path / "runs" / f"{slug}-seed{seed}.json"

    def read_run(self, activation: str, seed: int) -> RunRecord | None:
        """The record of a run that is done, finished or failed; None where it is still to do."""
        path = self.run_path(activation, seed)
        return _parsed(path, RunRecord) if path.exists() else None

    def read_runs(self, settings: StudySettings) -> tuple[RunRecord, ...]:
        """All runs that are done, by activation in the order of the settings and then by seed."""
        found = (self.read_run(activation, seed) for activation in settings.activations for seed in settings.seeds)
        return tuple(run for run in found if run is not None)

    def write_run(self, run: RunRecord) -> None:
        """Keep a run; once this returns it is never trained again."""
        path = self.run_path(run.activation, run.seed)
        write_atomically(path, as_json(run.model_dump_json(), indent=None))

    def read_costs(self) -> tuple[CostRow, ...]:
        """The measured costs, or none."""
        path = self.path / "cost.json"
        if not path.exists():
            return ()
        return _parsed(path, _Costs).rows

    def write_costs(self, rows: Iterable[CostRow]) -> None:
        """Keep the measured costs."""
        write_atomically(self.path / "cost.json", as_json(_Costs(rows=tuple(rows)).model_dump_json()))

    def write_tables(self, runs: Iterable[RunRecord], summary: Iterable[SummaryRow]) -> None:
        """``runs.csv`` and ``summary.csv``."""
        write_atomically(self.path / "runs.csv", as_csv([run_row(run) for run in runs]))
        write_atomically(self.path / "summary.csv", as_csv([row.model_dump() for row in summary]))

    def write_report(self, html: str) -> Path:
        """``report.html``."""
        path = self.path / "report.html"
        write_atomically(path, html)
        return path

    def write_plan(self, text: str) -> None:
        """``plan.json``."""
        write_atomically(self.path / "plan.json", text)


def as_json(model: str, indent: int | None = 1) -> str:
    """What a file holds, from a record as pydantic writes it: the version before all else.

    >>> as_json('{"seed":3}', indent=None)
    '{"version":2,"seed":3}'
    """
    held = {"version": VERSION, **json.loads(model)}
    return json.dumps(held, indent=indent, separators=(",", ":") if indent is None else None, ensure_ascii=False)


def run_row(run: RunRecord) -> dict[str, Any]:
    """A run as a flat row: what it is, its metrics, its cost."""
    flat = run.model_dump(exclude={*NO_COLUMNS, "failure"})
    return {**flat, **run.metrics, "failure": run.failure}


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV, with every column that any row has; an absent value is empty.

    >>> print(as_csv([{"a": 1}, {"a": 2, "b": "x"}]), end="")
    a,b
    1,
    2,x
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary name beside ``path``, flush to disk, then rename: no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _differs(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return key not in EXTENDABLE and before.get(key) != now.get(key)


def _parsed(path: Path, model: type[M]) -> M:
    try:
        held = from_json(read_whole(path, LARGEST_RECORD, StudyError))
        version = held.pop("version", 1) if isinstance(held, dict) else 1
        if not isinstance(version, int) or version < 1:
            raise _unreadable(path, "version", "Input should be a whole number from 1 on")
        if version > VERSION:
            raise StudyError(
                f"{path} has version {version}, and this limen reads versions 1 to {VERSION}; update limen."
            )
        return model.model_validate(held)
    except ValidationError as error:
        problem = error.errors()[0]
        raise _unreadable(path, ".".join(map(str, problem["loc"])), problem["msg"]) from None
    except ValueError as error:
        raise _unreadable(path, "", f"Invalid JSON: {error}") from None


def _unreadable(path: Path, where: str, why: str) -> StudyError:
    # Without study.json the rest of the folder is no study to continue.
    remedy = "choose another --out" if path.name == "study.json" else "delete it to make it anew"
    return StudyError(f"{path} cannot be read ({where or 'the file'}: {why}); {remedy}.")
