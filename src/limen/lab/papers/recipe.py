"""A recipe: a published experiment as data. TOML files in ``recipes/``, published numbers as CSV in ``published/``."""

from __future__ import annotations

import csv
import io
import math
import reprlib
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limen.errors import SpecError, suggest
from limen.lab.declaration import Declaration
from limen.lab.papers.table import Table, read
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.tasks import declared
from limen.reading import read_whole

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
LARGEST = 2**22
"""Bytes of a recipe, and of a table beside it."""
RECIPES, PUBLISHED = HERE / "recipes", HERE / "published"
TABLE_COLUMNS = ("data", "network", "metric", "value", "source")
LAYER_COLUMNS = ("data", "layer", "claim", "candidates", "words", "source")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedTable(_Strict):
    """Where the published numbers are, and on how much data they were made, where that is known."""

    table: str
    """A file of ``published/`` with the columns data, network, metric, value, source."""
    layers: str | None = None
    """Another with the columns data, layer, claim, candidates, words, source."""
    data: str
    """Which of its rows: the column ``data``."""
    train_images: int | None = Field(None, ge=1)
    test_images: int | None = Field(None, ge=1)
    """None where the paper's amount of data is not known."""


class Recipe(_Strict):
    """A published experiment: network, data, protocol, activations, published table."""

    name: str
    title: str
    task: str
    method: Literal["select", "compare"]
    source: str
    about: str
    departures: tuple[str, ...] = ()
    """Where it differs from the paper, and what the paper left open."""
    scaled_departures: tuple[str, ...] = ()
    """Where it differs because it is scaled to run without a GPU, which ``--full`` takes back."""
    data_help: str = ""
    """How to come by the data, where it cannot be downloaded."""
    settings: dict[str, Any]
    scaled: dict[str, Any] = {}
    """Settings that are changed to run without a GPU, unless the paper's form is asked for."""
    quick: dict[str, Any]
    """Settings that the form for minutes changes."""
    published: PublishedTable | None = None
    """None where the paper gives no number for the experiment, or none that was found."""
    folder: Path = RECIPES
    """Where its file is; a table of one's own lies beside it."""

    @property
    def reference(self) -> str:
        """What :func:`load` finds it by."""
        return self.name if self.folder == RECIPES else str((self.folder / f"{self.name}.toml").resolve())

    @cached_property
    def problem(self) -> Declaration:
        """The task, looked up once."""
        return declared.find(self.task)

    @cached_property
    def table(self) -> Table | None:
        """The published numbers of its data; None where there are none."""
        return read(self.published_rows(), self.problem) if self.published else None

    def study_settings(self, *, quick: bool = False, full: bool = False, **changed: Any) -> StudySettings:
        """The settings of its study; ``changed`` says where to find the data, where to run, how many seeds."""
        values = {
            "task": self.task,
            "baseline": "relu",
            **self.problem.defaults,
            **self.settings,
            **({} if full else self.scaled),
            **(self.quick if quick else {}),
            **changed,
        }
        if not values.get("data"):
            raise SpecError(f"the recipe {self.name} needs --data. {self.data_help}".strip())
        values["seeds"] = tuple(range(values.get("seeds", 3)))
        if self.method == "compare":
            return StudySettings(**values)
        names = (values["baseline"], SEARCHED, OPTIMIZED)
        return SelectSettings(kind="select", activations=names, **values)

    def is_full(self, settings: StudySettings) -> bool:
        """Whether a study has nothing of the scaled form."""
        paper = self.study_settings(full=True, data=settings.data)
        return all(getattr(settings, name) == getattr(paper, name) for name in self.scaled)

    def published_rows(self) -> list[Mapping[str, str]]:
        """The published numbers of its data."""
        return _rows(self, self.published.table, self.published.data, TABLE_COLUMNS) if self.published else []

    def published_layers(self) -> list[Mapping[str, str]]:
        """What was published about single layers."""
        if not self.published or not self.published.layers:
            return []
        return _rows(self, self.published.layers, self.published.data, LAYER_COLUMNS)


def names() -> tuple[str, ...]:
    """The recipes that come with limen.

    >>> "adact-table1-fmnist" in names()
    True
    """
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def load(name: str) -> Recipe:
    """A recipe by name, or from a TOML file of one's own.

    >>> load("adact-table1-svhn").title
    'AdAct, Table 1: SVHN'

    Raises:
        SpecError: if there is none, or with the field that is wrong.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if path.parent == RECIPES and name not in names():
        raise SpecError(f"no recipe is called {name!r}. {suggest(name, names())}")
    try:
        values = tomllib.loads(read_whole(path, LARGEST, SpecError).decode())
    except FileNotFoundError:
        raise SpecError(f"there is no recipe at {path}; limen reproduce --list shows the recipes.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(f"the recipe {path} is not TOML: {error}.") from None
    return _parsed(path, values)


def _parsed(path: Path, values: Mapping[str, Any]) -> Recipe:
    """A recipe from the values of its file, all of it checked: its settings, in every size, and its published rows."""
    try:
        recipe = Recipe(**{**values, "name": path.stem, "folder": path.parent})
        given = {} if recipe.settings.get("data") else {"data": "digits"}
        for quick, full in ((False, False), (True, False), (False, True)):
            recipe.study_settings(quick=quick, full=full, **given)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise SpecError(
            f"the recipe {path}: {field}: {problem['msg'].lower()} (given: {_SHORT.repr(problem['input'])})."
        ) from None
    protocol = recipe.study_settings(data="digits").protocol
    if protocol != "both":
        raise SpecError(
            f"the recipe {path}: settings.protocol: {protocol!r} is not possible; it must be 'both', so that the "
            "paper's number and the honest one come from the same runs."
        )
    if recipe.published:
        _check_table(recipe, recipe.published, path)
    return recipe


def _check_table(recipe: Recipe, published: PublishedTable, path: Path) -> None:
    """Raise where the table has nothing of the recipe's data, or a metric that its task does not have."""
    if not recipe.published_rows():
        raise SpecError(
            f"the recipe {path}: published.data: the table {published.table} has no rows of {published.data!r}."
        )
    try:
        _ = recipe.table
    except SpecError as error:
        raise SpecError(f"the recipe {path}: the table {published.table}, {published.data}: {error}") from None


def _rows(recipe: Recipe, table: str, data: str, columns: tuple[str, ...]) -> list[Mapping[str, str]]:
    """The rows of one data set in a published table, which lies beside the recipe or with limen."""
    path = next((folder / table for folder in (recipe.folder, PUBLISHED) if (folder / table).is_file()), None)
    if path is None or Path(table).name != table:
        known = sorted(file.name for file in PUBLISHED.glob("*.csv"))
        raise SpecError(f"there is no published table {table!r}. {suggest(table, known)}")
    text = read_whole(path, LARGEST, SpecError).decode(errors="replace")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for number, row in enumerate(rows, start=2):
        if tuple(row) != columns or None in row.values():
            raise SpecError(f"{path}, line {number}: the columns must be {', '.join(columns)}.")
        if "value" in row and not _is_number(row["value"]):
            raise SpecError(f"{path}, line {number}: the value {row['value']!r} is not a number.")
    return [row for row in rows if row["data"] == data]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
