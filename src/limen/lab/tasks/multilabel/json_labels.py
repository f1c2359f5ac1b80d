"""A JSON file an image, in a folder or an archive: ``{"image": "a.png", "labels": ["cat", "dog"]}``."""

from __future__ import annotations

from typing import Any

from limen.errors import DataError
from limen.lab.data.json_text import parsed_json
from limen.lab.data.layout import natural_key
from limen.lab.data.members import Files
from limen.lab.tasks.multilabel.named import WHOLE, Named, check_names, part_of

_FORM = '{"image": "a.png", "labels": ["cat", "dog"]}'


def read_json(files: Files) -> tuple[list[Named], tuple[str, ...]]:
    """Every image, by the name of its JSON file, and the labels by name."""
    names = sorted((name for name in files.files if name.lower().endswith(".json")), key=natural_key)
    if not names:
        raise DataError(
            f"{files.path} holds no JSON files; give a CSV file of images and labels, or a folder with one such file "
            f"an image: {_FORM}. Class folders are for --task classification."
        )
    contents = dict(files.read(names))
    found = [_named(parsed_json(contents[name], files.where(name)), name, files.where(name)) for name in names]
    check_names([(label, one.where) for one in found for label in sorted(one.labels)], files.path)
    return found, tuple(sorted({label for one in found for label in one.labels}))


def _named(content: Any, name: str, where: str) -> Named:
    if not isinstance(content, dict):
        raise DataError(f"{where} holds {_kind(content)}; it must hold {_FORM}.")
    image, labels = content.get("image"), content.get("labels")
    if not isinstance(image, str) or not image.strip():
        raise DataError(f"{where}: 'image' is {_kind(image)}; it must name an image, as in {_FORM}.")
    if not isinstance(labels, list):
        raise DataError(f"{where}: 'labels' is {_kind(labels)}; it must be a list of texts, as in {_FORM}.")
    for label in labels:
        if not isinstance(label, str) or not label.strip():
            raise DataError(f"{where}: a label is {_kind(label)}; every label must be a text, as in {_FORM}.")
    part = content.get("split", WHOLE)
    above = name.rpartition("/")[0]
    return Named(
        f"{above}/{image}" if above and not image.startswith("/") else image,
        frozenset(label.strip() for label in labels),
        part_of(str(part), where) if part != WHOLE else WHOLE,
        where,
    )


def _kind(value: Any) -> str:
    """What a value is, for a message.

    >>> _kind(None), _kind([]), _kind(3)
    ('missing', 'a list', '3')
    """
    if value is None:
        return "missing"
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)[:40]
