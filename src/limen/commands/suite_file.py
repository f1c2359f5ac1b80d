"""A suite's TOML file: which problems there are, each with the options of the command line; all checked at once."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limen.commands.options import parameter
from limen.commands.study import folder_name, validated
from limen.errors import DataError, SpecError, StudyError, suggest
from limen.lab.fields import StudyFields
from limen.lab.option import Option, as_epochs, as_names, as_specs, as_tuned, options
from limen.lab.settings import StudySettings
from limen.lab.study.foreseeing import foresee
from limen.lab.suites.suite import DIFFERENCES, Problem, Suite
from limen.lab.tasks import declared
from limen.reading import read_whole

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 2**20
"""Bytes of the file."""
MOST_PROBLEMS = 1000
"""More than anyone waits for."""
TOP = ("title", "differences", "defaults", "problem")
CROSSED = ("data", "network")
"""What a problem may name several of, which are crossed."""
LISTS: Mapping[Any, tuple[type, str]] = {
    as_specs: (str, "names in quotes"),
    as_names: (str, "names in quotes"),
    as_tuned: (str, "names in quotes"),
    as_epochs: (int, "whole numbers"),
}
"""What reads options that name several things, in the file a list, and of what that is."""


def read(path: Path, overriding: Mapping[str, Any]) -> Suite:
    """The suite of a file, its problems with their settings; ``overriding`` are options given on the command line.

    Raises:
        SpecError: with the file, the problem and the key that is wrong.
    """
    file = _parsed(path)
    _check_keys(file, TOP, f"{path}: ")
    title, differences = file.get("title", path.stem), file.get("differences", DIFFERENCES[0])
    if not isinstance(title, str):
        raise SpecError(f"{path}: title {title!r} is no text; give one in quotes.")
    if differences not in DIFFERENCES:
        raise SpecError(f"{path}: differences {differences!r} is not possible; give {' or '.join(DIFFERENCES)}.")
    defaults, tables = file.get("defaults", {}), file.get("problem", [])
    if not isinstance(defaults, dict):
        raise SpecError(f"{path}: defaults is {defaults!r}, and must be a table of options: [defaults].")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SpecError(f"{path}: problem must be tables, each below a line [[problem]].")
    _named(defaults, f"{path}: defaults: ", own=())
    problems = [
        problem
        for number, table in enumerate(tables, start=1)
        for problem in _problems(table, defaults, overriding, f"{path}: problem {number}: ")
    ]
    suite = Suite(title, differences, tuple(problems))
    try:
        suite.check()
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    return suite


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_whole(path, LARGEST, SpecError).decode())
    except FileNotFoundError:
        raise SpecError(f"there is no suite at {path}; name a TOML file with --suite.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(f"the suite {path} is not TOML: {error}.") from None


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise SpecError(f"{where}there is no key {key!r}. {suggest(key, known)}")


@functools.cache
def _keys() -> Mapping[str, str]:
    """Every option as a file may write it, with the setting's name."""
    found: dict[str, str] = {}
    for name, option in options(StudyFields).items():
        flags = (flag.removeprefix("--") for flag in (*option.flags, f"--{name}"))
        found |= {key: name for flag in flags for key in (flag, flag.replace("_", "-"), flag.replace("-", "_"))}
    return found


def _named(table: Mapping[str, Any], where: str, own: tuple[str, ...]) -> dict[str, Any]:
    """The options of a table by their settings' names.

    Raises:
        SpecError: for a key that is none, or that stands there in two spellings.
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = key if key in own else _keys().get(key)
        if name is None:
            known = dict.fromkeys((*own, *(key for key in _keys() if "_" not in key)))
            raise SpecError(f"{where}there is no option {key!r}. {suggest(key, known)}")
        if name in found:
            raise SpecError(f"{where}{key} stands there twice, in two spellings; leave one of them out.")
        found[name] = value
    return found


def _problems(
    table: Mapping[str, Any], defaults: Mapping[str, Any], overriding: Mapping[str, Any], where: str
) -> Iterator[Problem]:
    """The problems of one table, one for each pair of its data and its networks."""
    mine, shared = _named(table, where, own=("name",)), _named(defaults, where, own=())
    name = mine.pop("name", None)
    merged = {**shared, **mine}
    task = merged.get("task", "classification")
    try:
        problem = declared.find(str(task))
    except SpecError as error:
        raise SpecError(f"{where}{error}") from None
    # A default that the task does not have is for the others.
    foreign = declared.hidden_options(problem) - mine.keys()
    merged = {key: value for key, value in merged.items() if key not in foreign}
    merged.setdefault("network", problem.defaults["network"])
    if "data" not in merged:
        raise SpecError(f"{where}data is missing; name a built-in set or a path.")
    several = {key: _several(merged[key], key, where) for key in CROSSED}
    if len(several["data"]) * len(several["network"]) > MOST_PROBLEMS:
        raise SpecError(f"{where}these are more than {MOST_PROBLEMS:,} problems; name fewer data or networks.")
    pairs = [*itertools.product(several["data"], several["network"])]
    for data, network in pairs:
        called = _called(name, data, network, crossed=len(pairs) > 1, where=where)
        given = {
            key: _as_given(key, value, where) for key, value in {**merged, "data": data, "network": network}.items()
        }
        yield Problem(called, _settings({**given, **overriding}, f"{where}{called}: "))


def _several(value: Any, key: str, where: str) -> list[str]:
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(one, str) for one in found):
        raise SpecError(f"{where}{key} {value!r} is not possible; give a name in quotes, or a list of such.")
    return found


def _called(name: Any, data: str, network: str, *, crossed: bool, where: str) -> str:
    """A problem's name, which is its folder's."""
    if name is None:
        return folder_name(data, network)
    if not isinstance(name, str):
        raise SpecError(f"{where}name {name!r} is no text; give one in quotes.")
    return f"{name}-{folder_name(data, network)}" if crossed else name


def _as_given(name: str, value: Any, where: str) -> Any:
    """A value of the file as the command line would give it."""
    option = options(StudyFields)[name]
    kind = parameter(StudyFields, name).annotation.__args__[0]
    plain = next((part for part in getattr(kind, "__args__", (kind,)) if part is not type(None)), kind)
    key = name.replace("_", "-")
    if isinstance(value, list):
        return _as_list(value, option, f"{where}{key}")
    if plain is bool or isinstance(value, bool):
        if plain is bool and isinstance(value, bool):
            return value
        raise SpecError(
            f"{where}{key} {value!r} is not possible; give {'true or false' if plain is bool else 'a value'}."
        )
    if plain in (int, float):
        whole = isinstance(value, int)
        if whole or (plain is float and isinstance(value, float)):
            return value
        raise SpecError(f"{where}{key} {value!r} is not possible; give a {'whole ' * (plain is int)}number.")
    if not isinstance(value, (str, int, float)):
        raise SpecError(f"{where}{key} {value!r} is not possible; give a text or a number.")
    return [str(value)] if option.read is as_names else str(value)


def _as_list(value: list[Any], option: Option, where: str) -> Any:
    if option.read not in LISTS:
        raise SpecError(f"{where} {value!r} is not possible; give one value; lists are for {' and '.join(CROSSED)}.")
    kind, what = LISTS[option.read]
    if not all(type(one) is kind for one in value):
        raise SpecError(f"{where} {value!r} is not possible; give a list of {what}.")
    return value if option.read is as_names else ",".join(map(str, value))


def _settings(given: Mapping[str, Any], where: str) -> StudySettings:
    """A problem's settings, looked at as far as it needs neither its data nor torch."""
    left_out = {name: parameter(StudyFields, name).default for name in options(StudyFields)}
    task = declared.find(given.get("task", "classification"))
    try:
        foresee(task, validated(StudySettings, {**left_out, **given, "device": "cpu"}, task))
        settings = validated(StudySettings, {**left_out, **given}, task)
    except (SpecError, DataError, StudyError) as error:
        raise SpecError(f"{where}{error}") from None
    return settings
