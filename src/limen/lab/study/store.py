"""The folder of a study: every file is written whole or not at all, and a run is a file.

``study.json`` (settings, data, versions, when what was asked for), ``runs/*.json`` (one a run, the truth),
``trials/*.json`` (the same of a tuning), ``cost.json``; from these come ``runs.csv``, ``summary.csv``, ``trials.csv``
and ``report.html``. Whatever is read is checked whole, and that it belongs to the study of the folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import from_json
from typing_extensions import Self

from limen.collecting import without_collection
from limen.errors import PlanError, StudyError
from limen.lab.rates import in_place_of, values_of
from limen.lab.records import Asked, CostRow, DataFacts, Origin, Record, RunRecord, SummaryRow, TrialRow
from limen.lab.settings import EXTENDABLE, OF_TUNING, SelectSettings, StudySettings
from limen.lab.tasks import declared
from limen.reading import read_whole
from limen.selection import Plan
from limen.writing import write_atomically

M = TypeVar("M", bound=BaseModel)

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

_WRITER = ".writer"
"""Holds who has the lock; the lock's own file is emptied by whoever tries it."""
LARGEST_RECORD = 2**28
"""Bytes of one file that is read."""
VERSION = 3
"""Of the files in JSON. From 3 on runs and costs say which study they belong to, and from 2 on each file its version;
earlier ones are read as they are."""

_BEGINNING = f'{{"version":{VERSION},'.encode()

NO_COLUMNS = frozenset({"metrics", "curves", "layers", "weights", "gradients", "sites", "plan", "shown", "origin"})
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
    formulas: dict[str, str] = {}
    """Of each activation, because a class of the user's own may be gone when the report is made again."""
    asked: tuple[Asked, ...] = ()
    """What it began with and what was added, in this order; empty: of a version that did not note it."""
    tried: dict[str, tuple[str, ...]] = {}
    """Of each activation that is tuned the names of its trials (:mod:`.rates`), as they were suggested."""

    @model_validator(mode="before")
    @classmethod
    def _with_threads(cls, value: Any) -> Any:
        """Before the threads of a run were a setting, they were as many as torch took, which was noted."""
        settings, noted = (value.get(key) for key in ("settings", "environment")) if isinstance(value, dict) else (0, 0)
        if isinstance(settings, dict) and isinstance(noted, dict) and str(noted.get("threads", "")).isdecimal():
            return {**value, "settings": {"threads_per_run": int(noted["threads"]), **settings}}
        return value

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        settings = self.settings
        if settings.baseline not in settings.activations:
            named = ", ".join(settings.activations)
            raise ValueError(f"the baseline {settings.baseline!r} is not among the activations {named}")
        for what, given in (("activation", settings.activations), ("seed", settings.seeds)):
            seen: set[str | int] = set()
            for one in given:
                if one in seen:
                    raise ValueError(f"the {what} {one!r} is named twice")
                seen.add(one)
        for name in (*settings.own, *(name for names in self.tried.values() for name in names)):
            values_of(name)
        return self

    @property
    def origin(self) -> Origin:
        """What its runs and costs are stored with."""
        lasting = self.settings.model_dump(mode="json", exclude=set(EXTENDABLE | OF_TUNING))
        return Origin(fingerprint=self.data.fingerprint, settings=lasting)

    def other_than(self, origin: Origin | None) -> str:
        """How it differs from the study that something was made for; empty where it does not."""
        return _difference(self.origin, self.origin if origin is None else origin)


def _difference(mine: Origin, origin: Origin) -> str:
    """How the study that something was made for differs from mine; empty where it does not."""
    if mine == origin:
        return ""
    for name, value in origin.settings.items():
        if name in mine.settings and mine.settings[name] != value:
            return f"{name.replace('_', ' ')} {value!r}, where study.json says {mine.settings[name]!r}"
    if origin.fingerprint != mine.fingerprint:
        return f"data of fingerprint {origin.fingerprint[:12]}, where study.json says {mine.fingerprint[:12]}"
    return ""


class _Costs(Record):
    """What ``cost.json`` holds."""

    rows: tuple[CostRow, ...]
    origin: Origin | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, value: Any) -> Any:
        """The first version was the rows alone."""
        return {"rows": value} if isinstance(value, list) else value


class Held:
    """A folder that this process has, until the end of a ``with`` block or of the process."""

    def __init__(self, lock: FileLock, writer: Path) -> None:
        self._lock, self._writer = lock, writer

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._writer.unlink()
        self._lock.release()


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
                f"another limen is writing to {self.path}{self._writer()}; wait for it, or choose another --out."
            ) from None
        since = datetime.now().isoformat(sep=" ", timespec="seconds")
        with suppress(OSError):  # nothing depends on it
            note = f"process {os.getpid()} on {platform.node()}, since {since}"
            (self.path / _WRITER).write_text(note, encoding="utf-8")
        return Held(lock, self.path / _WRITER)

    def _writer(self) -> str:
        """Who has the folder, as far as that was noted."""
        with suppress(OSError, UnicodeDecodeError):
            return f" ({(self.path / _WRITER).read_text(encoding='utf-8')})"
        return ""

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
            asked=(_asked(settings.activations, settings.seeds),),
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
            study = _grown(known, study)
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
            differing = [f"the {study.data.unit} of {study.data.name!r} have changed since"]
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
        run = _parsed_at_once(path, RunRecord) or _parsed(path, RunRecord)
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
        found = _parsed(path, _Costs)
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


def as_json(model: str, indent: int | None = 1) -> str:
    """What a file holds, from a record as pydantic writes it: the version before all else.

    >>> as_json('{"seed":3}', indent=None)
    '{"version":3,"seed":3}'
    """
    if indent is None:  # as it is: reading and writing it again takes ten times as long
        return f'{{"version":{VERSION},{model[1:]}'
    return json.dumps({"version": VERSION, **json.loads(model)}, indent=indent, ensure_ascii=False)


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


@cache
def _slug(activation: str, seed: int) -> str:
    """A run as a file name; a spec that is none gets a hash as well."""
    slug = re.sub(r"[^a-z0-9_]+", "-", activation.lower()).strip("-")[:60]
    if slug != activation:
        slug += "-" + hashlib.sha256(activation.encode()).hexdigest()[:8]
    return f"{slug}-seed{seed}"


def _asked(activations: Iterable[str], seeds: Iterable[int]) -> Asked:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Asked(when=now, activations=tuple(activations), seeds=tuple(seeds))


def _grown(known: Study, study: Study) -> Study:
    """The study that was here with what is asked for now."""
    before, now = known.settings, study.settings
    union = {
        "activations": tuple(dict.fromkeys([*before.activations, *now.activations])),
        "seeds": tuple(sorted({*before.seeds, *now.seeds})),
        # What may be looked at after every seed stays so.
        "margin": before.margin if now.margin is None else now.margin,
        "own": in_place_of(before.own, now.own),
        "trial_seeds": max(before.trial_seeds, now.trial_seeds),
        "max_seeds": max((most for most in (before.max_seeds, now.max_seeds) if most is not None), default=None),
    }
    activations = [name for name in now.activations if name not in before.activations]
    seeds = [seed for seed in now.seeds if seed not in before.seeds]
    asked = known.asked
    if activations or seeds:
        began = known.asked or (Asked(when="", activations=before.activations, seeds=before.seeds),)
        asked = (*began, _asked(activations, seeds))
    grown = {
        "settings": now.model_copy(update=union),
        "formulas": {**known.formulas, **study.formulas},
        "asked": asked,
        "tried": known.tried,
    }
    return study.model_copy(update=grown)


def _check_belongs(path: Path, origin: Origin | None, mine: Origin | None) -> None:
    """Raise where what a file holds was made for another study than that of its folder."""
    other = _difference(mine, origin) if mine is not None and origin is not None else ""
    if other:
        raise StudyError(
            f"{path} belongs to another study ({other}); put the study.json back that it was made with, or delete "
            f"{path.name} to make it anew."
        )


def _check_plan(path: Path, plan: Mapping[str, Any]) -> None:
    try:
        Plan.from_dict(plan, "plan")
    except PlanError as error:
        raise _unreadable(path, "plan", str(error).rstrip(".")) from None


def _differs(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if key in EXTENDABLE or (key in OF_TUNING and not before.get("tune")):
        return False
    return bool(before.get(key) != now.get(key))


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
        reason = problem["msg"].removeprefix("Value error, ")
        raise _unreadable(path, ".".join(map(str, problem["loc"])), reason) from None
    except ValueError as error:
        raise _unreadable(path, "", f"Invalid JSON: {error}") from None


def _parsed_at_once(path: Path, model: type[M]) -> M | None:
    """What this version wrote, read in half of the time; None where it must be looked into."""
    held = read_whole(path, LARGEST_RECORD, StudyError)
    if not held.startswith(_BEGINNING):
        return None
    try:
        return model.model_validate_json(b"{" + held[len(_BEGINNING) :])
    except ValidationError:
        return None


def _unreadable(path: Path, where: str, why: str) -> StudyError:
    # Without study.json the rest of the folder is no study to continue.
    whole = "put it back as it was, or choose another --out"
    remedy = whole if path.name == "study.json" else "delete it to make it anew"
    return StudyError(f"{path} cannot be read ({where or 'the file'}: {why}); {remedy}.")
