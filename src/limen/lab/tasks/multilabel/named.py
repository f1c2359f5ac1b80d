"""What a file says of its images before any is read: where each lies and which labels it has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from limen.errors import DataError

MOST_LABELS = 1000
PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
"""How a file may call the parts that it divides its images into."""
WHOLE = ""
"""The part of an image where a file does not say it."""


@dataclass(frozen=True)
class Named:
    """One image as a file names it."""

    image: str
    """As the file has it."""
    labels: frozenset[str]
    part: str
    where: str
    """The file, with the line, for a message."""


def part_of(text: str, where: str) -> str:
    """Which part a file means.

    >>> part_of("Val", "a.csv, line 2")
    'validation'
    """
    if text.lower() not in PARTS:
        raise DataError(f"{where}: split is {text!r}, but must be train, validation or test.")
    return PARTS[text.lower()]


def check_names(labels: Sequence[tuple[str, str]], path: object) -> None:
    """Raise for labels (name, where it stands) that differ in case and spaces alone, and for too many."""
    seen: dict[str, tuple[str, str]] = {}
    for name, where in labels:
        plain = re.sub(r"[\s_-]+", " ", name).strip().casefold()
        known, first = seen.setdefault(plain, (name, where))
        if known != name:
            raise DataError(f"{first} has the label {known!r} and {where} {name!r}; spell a label one way throughout.")
    if len(seen) > MOST_LABELS:
        raise DataError(
            f"{path} has {len(seen):,} different labels, more than the {MOST_LABELS:,} allowed; a label is what many "
            "images may have, divided from others by ; or |."
        )
