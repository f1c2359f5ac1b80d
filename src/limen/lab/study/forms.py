"""Records as JSON, with a version, and as rows of CSV: written, and read as far as they can be believed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from limen.errors import StudyError
from limen.lab.records import RunRecord
from limen.reading import read_whole

M = TypeVar("M", bound=BaseModel)
LARGEST_RECORD = 2**28
"""Bytes of one file that is read."""
VERSION = 3
"""Of the files in JSON. From 3 on runs and costs say which study they belong to, and from 2 on each file its version;
earlier ones are read as they are."""

_BEGINNING = f'{{"version":{VERSION},'.encode()

NO_COLUMNS = frozenset({"metrics", "curves", "layers", "weights", "gradients", "sites", "plan", "shown", "origin"})
"""What a run's row leaves out; each metric has a column of its own."""


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


def parsed(path: Path, model: type[M]) -> M:
    """What a file of this version or an earlier one holds.

    Raises:
        StudyError: where it is no such record, or of a later version.
    """
    try:
        held = from_json(read_whole(path, LARGEST_RECORD, StudyError))
        version = held.pop("version", 1) if isinstance(held, dict) else 1
        if not isinstance(version, int) or version < 1:
            raise unreadable(path, "version", "Input should be a whole number from 1 on")
        if version > VERSION:
            raise StudyError(
                f"{path} has version {version}, and this limen reads versions 1 to {VERSION}; update limen."
            )
        return model.model_validate(held)
    except ValidationError as error:
        problem = error.errors()[0]
        reason = problem["msg"].removeprefix("Value error, ")
        raise unreadable(path, ".".join(map(str, problem["loc"])), reason) from None
    except ValueError as error:
        raise unreadable(path, "", f"Invalid JSON: {error}") from None


def parsed_at_once(path: Path, model: type[M]) -> M | None:
    """What this version wrote, read in half of the time; None where it must be looked into."""
    held = read_whole(path, LARGEST_RECORD, StudyError)
    if not held.startswith(_BEGINNING):
        return None
    try:
        return model.model_validate_json(b"{" + held[len(_BEGINNING) :])
    except ValidationError:
        return None


def unreadable(path: Path, where: str, why: str) -> StudyError:
    """What is said of a file that cannot be read: where in it, why, and what can be done."""
    # Without study.json the rest of the folder is no study to continue.
    whole = "put it back as it was, or choose another --out"
    remedy = whole if path.name == "study.json" else "delete it to make it anew"
    return StudyError(f"{path} cannot be read ({where or 'the file'}: {why}); {remedy}.")
