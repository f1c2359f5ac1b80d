"""How an activation is written: its name with arguments, and several of them in a list.

Nothing here knows the classes, so a command can say that a name is mistyped before torch is imported.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection
from typing import Any

from limen.errors import SpecError, suggest

LONGEST = 1000
"""Characters of a spec: far more than any activation has arguments for, and an error that quotes it can be read."""


def check_name(name: str, known: Collection[str]) -> None:
    """Raise for a name that is none of those known.

    >>> check_name("asua", ["asau", "ash"])
    Traceback (most recent call last):
    limen.errors.SpecError: no activation is called 'asua'. Did you mean 'asau'?
    """
    if name not in known:
        raise SpecError(f"no activation is called {name!r}. {suggest(name, known)}")


def check_argument(owner: str, argument: str, known: Collection[str]) -> None:
    """Raise for an argument that is none of those known.

    >>> check_argument("ASAU", "bta", ["alpha", "beta"])
    Traceback (most recent call last):
    limen.errors.SpecError: ASAU has no argument 'bta'. Did you mean 'beta'?
    """
    if argument not in known:
        raise SpecError(f"{owner} has no argument {argument!r}. {suggest(argument, known)}")


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Split a spec into the activation's name and its arguments.

    >>> parse("adact:candidates=relu+silu")
    ('adact', {'candidates': ('relu', 'silu')})
    """
    if len(spec) > LONGEST:
        raise SpecError(f"a spec has at most {LONGEST:,} characters, and this one has {len(spec):,}: {spec[:40]!r}…")
    name, _, rest = spec.strip().partition(":")
    arguments: dict[str, Any] = {}
    for piece in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = piece.partition("=")
        if not (key and equals and value):
            raise SpecError(f"in the spec {spec!r}, {piece!r} is not of the form argument=value.")
        if key in arguments:
            raise SpecError(f"in the spec {spec!r}, {key!r} is given twice.")
        arguments[key] = _value(value)
    return name, arguments


def split_list(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of specs, whose own arguments are separated by commas too.

    >>> split_list("relu,asau:beta=2,alpha=3,ash")
    ('relu', 'asau:beta=2,alpha=3', 'ash')
    """
    specs: list[str] = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        continues = "=" in piece and ":" not in piece.partition("=")[0]
        if continues and specs:
            specs[-1] += f",{piece}"
        else:
            specs.append(piece)
    return tuple(specs)


_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}


def _value(text: str) -> Any:
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    return tuple(text.split("+")) if "+" in text else text
