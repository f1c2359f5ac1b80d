"""The folder of a suite: ``suite.json``, ``suite.csv`` and ``report.html``, beside a folder for each problem."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from limen.errors import StudyError
from limen.lab.numerals import finite
from limen.lab.study.forms import LARGEST_RECORD, as_csv
from limen.reading import read_whole
from limen.writing import write_atomically

SUITE, TABLE, PAGE = "suite.json", "suite.csv", "report.html"
OURS = (SUITE, TABLE, PAGE)
VERSION = 1


class Entry(BaseModel):
    """A problem of the suite: the name of its folder, and why it has no result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    failure: str = ""


class Known(BaseModel):
    """What ``suite.json`` says of what the suite is; its answer is made of the problems' rows."""

    model_config = ConfigDict(frozen=True)

    version: int
    title: str
    differences: str
    command: str = ""
    problems: tuple[Entry, ...]


def is_suite(folder: Path) -> bool:
    """Whether a folder holds a suite."""
    return (folder / SUITE).exists()


def read(folder: Path) -> Known:
    """What a suite is.

    Raises:
        StudyError: if the file cannot be read.
    """
    path = folder / SUITE
    try:
        known = Known.model_validate(from_json(read_whole(path, LARGEST_RECORD, StudyError)))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise _unreadable(path, f"{where}: {problem['msg'].lower()}") from None
    except ValueError as error:
        raise _unreadable(path, f"invalid JSON: {error}") from None
    if known.version > VERSION:
        raise StudyError(f"{path} has version {known.version}, and this limen reads version {VERSION}; update limen.")
    outside = [
        entry.name for entry in known.problems if Path(entry.name).name != entry.name or entry.name in ("", "..")
    ]
    if outside:
        raise _unreadable(path, f"the problem {outside[0]!r} names no folder inside of it")
    return known


def _unreadable(path: Path, why: str) -> StudyError:
    return StudyError(f"{path} cannot be read ({why}); give the command of the suite again, no run is lost.")


def begin(folder: Path) -> FileLock:
    """The folder's lock, taken.

    Raises:
        StudyError: where the folder holds a study, or another process writes to it.
    """
    if (folder / "study.json").exists():
        raise StudyError(f"{folder} holds a study and no suite; choose another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StudyError(f"the folder {folder} cannot be made ({error.strerror}); choose another --out.") from None
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(f"another limen is writing to {folder}; wait for it, or choose another --out.") from None
    return lock


def write(folder: Path, known: Known, answer: dict[str, Any], table: Sequence[dict[str, Any]]) -> None:
    """The suite's tables; in JSON a number that does not exist is null."""
    held = {**known.model_dump(), "answer": finite(answer)}
    write_atomically(folder / SUITE, json.dumps(held, indent=1, ensure_ascii=False) + "\n")
    write_atomically(folder / TABLE, as_csv([*table]))
