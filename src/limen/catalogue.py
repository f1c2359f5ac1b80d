"""The activations that come with limen, as a table read in milliseconds: their names, arguments and formulas.

Their classes need torch. ``catalogue.json`` is written from these by ``python -m limen.activations.describe``, and a
test holds it against them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from limen.errors import SpecError
from limen.naming import check_argument, check_name, parse

FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Description:
    """One activation, described."""

    name: str
    formula: str
    parameters: dict[str, float]
    """Initial value of each learned parameter; a mixture's own are its logits."""
    settings: dict[str, Any]
    """Default of each setting that is not learned."""
    source: str
    summary: str


@dataclass(frozen=True)
class Entry:
    """One activation of the table."""

    description: Description
    owner: str
    """Its class."""
    arguments: tuple[str, ...]
    """What a spec may say of it."""


@cache
def entries() -> dict[str, Entry]:
    """The table, by name.

    >>> entries()["asau"].owner
    'ASAU'
    """
    table = json.loads(FILE.read_text(encoding="utf-8"))
    found = (Entry(Description(**row["description"]), row["owner"], tuple(row["arguments"])) for row in table)
    return {entry.description.name: entry for entry in found}


def check_specs(specs: Iterable[str]) -> None:
    """Raise for specs that cannot be, as far as the table tells; where the classes are loaded they say it themselves.

    Others may have been registered with them.
    """
    if "limen.activations" not in sys.modules:
        for spec in specs:
            check_spec(spec)


def check_spec(spec: str) -> None:
    """Raise for a name or an argument that does not exist; whether a value is allowed only the class knows.

    >>> check_spec("asau:bta=2")
    Traceback (most recent call last):
    limen.errors.SpecError: ASAU has no argument 'bta'. Did you mean 'beta'? (in the spec 'asau:bta=2')
    """
    name, arguments = parse(spec)
    check_name(name, entries())
    entry = entries()[name]
    try:
        for argument in arguments:
            check_argument(entry.owner, argument, entry.arguments)
    except SpecError as error:
        raise SpecError(f"{error} (in the spec {spec!r})") from None
