"""Other data of the same kind, tested with the networks that learned from a study's own: ``--test-data``.

All of it is a test set. Its classes are those of the study's data by name, its images have their size; what does not
match is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import torch

from limen.errors import DataError
from limen.lab.data.base import Data, joined
from limen.lab.data.division import Draw, Strategy
from limen.lab.data.images import ImageSet
from limen.lab.data.strategies import AtRandom
from limen.lab.settings import StudySettings

D = TypeVar("D", bound=Data[Any])
MOST_NAMED = 10


def added(data: D, other: Data[Any], settings: StudySettings) -> D:
    """The data with all examples of the other, which match them, as a second test set."""
    whole = every(other)
    if settings.limit_test is not None and settings.limit_test < len(whole):
        by: Strategy[Any] = AtRandom()
        whole = whole.take(by.kept(whole, settings.limit_test, Draw(other, "test", settings.split_seed)))
    note = f"Tested on {other.name} too: {len(whole):,} {other.unit}, none of which was learned from."
    return replace(data, transfer=whole, transfer_name=other.name, notes=(*data.notes, *other.notes, note))


def every(data: Data[Any]) -> Any:
    """The examples of all parts, one part after the other."""
    return joined([part for part in (data.train, data.validation, data.test) if part is not None])


def settings_for_other(data: Data[Any], settings: StudySettings) -> StudySettings:
    """Those by which the other data are read: in the size of the data's images, and all of it."""
    changed: dict[str, Any] = {"data": settings.test_data, "test_data": None, "limit_train": None, "limit_test": None}
    if isinstance(data, ImageSet):
        changed["image_size"] = data.image_shape[1:]
    return settings.model_copy(update=changed)


def matched(other: D, data: D) -> D:
    """The other data with the classes of the study's, by name.

    Raises:
        DataError: if its examples have another shape, or it has a class that was not learned.
    """
    _check_shape(other, data)
    places = _places(other, data)
    parts: dict[str, Any] = {
        name: None if part is None else part.relabelled(places, len(data.classes))
        for name, part in (("train", other.train), ("validation", other.validation), ("test", other.test))
    }
    lacking = [name for name in data.classes if name not in other.classes]
    note = (f"{other.name} has nothing of the class {_listed(lacking)}.",) if lacking and other.classes else ()
    return replace(other, **parts, classes=data.classes, notes=(*other.notes, *note))


def _check_shape(other: Data[Any], data: Data[Any]) -> None:
    if other.input_shape == data.input_shape:
        return
    if isinstance(data, ImageSet):
        raise DataError(
            f"{other.name} has images of {_channels(other)}, and {data.name} of {_channels(data)}; give --grey to read "
            "both as grey."
        )
    raise DataError(
        f"{other.name} has {other.unit} of shape {other.input_shape}, and {data.name} of {data.input_shape}; they must "
        "be the same."
    )


def _channels(data: Data[Any]) -> str:
    count = data.input_shape[0]
    return f"{count} channel{'s' * (count > 1)}"


def _places(other: Data[Any], data: Data[Any]) -> torch.Tensor:
    """For every class of the other data its place among the data's."""
    unknown = [name for name in other.classes if name not in data.classes]
    if unknown:
        raise DataError(
            f"{other.name} has the class{'es' * (len(unknown) > 1)} {_listed(unknown)}, which the data learned from, "
            f"{data.name}, have not: theirs are {_listed(data.classes)}. Classes are matched by name; rename them, or "
            "leave them out."
        )
    return torch.tensor([data.classes.index(name) for name in other.classes], dtype=torch.int64)


def _listed(names: Iterable[str]) -> str:
    """Names for a message.

    >>> _listed(["cat", "dog"])
    "'cat', 'dog'"
    """
    known = list(names)
    more = len(known) - MOST_NAMED
    return ", ".join(map(repr, known[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")
