"""Text from anyone's files: a file, or a folder or archive of ``.txt`` and ``.jsonl`` files, with splits or without.

Documents (the files of a folder, the rows of a ``.jsonl``) follow one another in the natural order of their names, with
a blank line between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from limen.errors import DataError
from limen.lab.data.files import archive_suffix, open_files
from limen.lab.data.layout import SPLIT_NAMES, natural_key
from limen.lab.data.members import Files, check_path, content_of, path_kind, reading
from limen.lab.data.text import decoded
from limen.memory import require_memory

BETWEEN = "\n\n"
ROWS = (".jsonl", ".ndjson")
SUFFIXES = (".txt", *ROWS)
TEXT = "text"
"""The key of a row's text where no other is named."""
WHOLE = ""
"""In the place of a split's name: all there is."""


@dataclass(frozen=True)
class Texts:
    """What was read: a text for each split, or one that is still to be divided."""

    name: str
    parts: dict[str, str]
    documents: int

    @property
    def notes(self) -> tuple[str, ...]:
        """How documents became one text."""
        return (f"{self.documents:,} documents, with a blank line between them.",) if self.documents > 1 else ()


def read_texts(source: str, key: str | None) -> Texts:
    """Read a file, a folder or an archive; ``key`` names the text of a row of JSON."""
    path = Path(source).expanduser()
    check_path(path)
    if path_kind(path) == "file" and not archive_suffix(path.name):
        _check_key(path, [path.name], key)
        with reading(path, "text"):
            content = content_of(path)
        found = {WHOLE: list(_documents(path.name, content, str(path), key))}
    else:
        found = _of_folder(open_files(path), key)
    parts = {split: BETWEEN.join(documents) for split, documents in found.items()}
    for split, text in parts.items():
        if not text.strip():
            raise DataError(f"{path} has no text{f' to {split} on' if split == 'train' else ''}; give some.")
    return Texts(path.name, parts, sum(map(len, found.values())))


def _of_folder(files: Files, key: str | None) -> dict[str, list[str]]:
    names = sorted((name for name in files.files if name.lower().endswith(SUFFIXES)), key=natural_key)
    if not names:
        raise DataError(f"{files.path} has no {' or '.join(SUFFIXES)} file; give some, or name a file of text.")
    _check_key(files.path, names, key)
    splits = {name: _split_of(name) for name in names}
    _check_splits(files.path, splits)
    found: dict[str, list[str]] = {split: [] for split in splits.values()}
    read = {name: list(_documents(name, content, files.where(name), key)) for name, content in files.read(names)}
    for name in names:
        found[splits[name]].extend(read[name])
    return found


def _check_key(path: Path, names: list[str], key: str | None) -> None:
    if key is not None and not any(name.lower().endswith(ROWS) for name in names):
        raise DataError(f"{path} has no rows of JSON, of which --text {key} would name a key; leave it out.")


def _split_of(name: str) -> str:
    """What a file's or a folder's name says it is for.

    >>> _split_of("wiki/valid.txt"), _split_of("wiki/Test/1.txt"), _split_of("train.en/a.txt")
    ('validation', 'test', '')
    """
    path = PurePosixPath(name.lower())
    return next((SPLIT_NAMES[part] for part in (path.stem, *path.parts[:-1]) if part in SPLIT_NAMES), WHOLE)


def _check_splits(path: Path, splits: dict[str, str]) -> None:
    known = set(splits.values())
    if len(known) > 1 and WHOLE in known:
        without = next(name for name, split in splits.items() if split == WHOLE)
        raise DataError(
            f"{path} has files for {', '.join(sorted(known - {WHOLE}))}, and {without!r} for none of them; name every "
            "file or its folder train, validation or test."
        )
    if WHOLE not in known and "train" not in known:
        raise DataError(f"{path} has a {' and a '.join(sorted(known))} text but none to train on; add train.txt.")


def _documents(name: str, content: bytes, where: str, key: str | None) -> Iterator[str]:
    rows = name.lower().endswith(ROWS)
    marks = sum(map(content.count, (b"[", b"{", b","))) if rows else 0
    require_memory(8 * len(content) + 100 * marks, f"reading {where}", "give a part of it")
    text = decoded(content, where, "give text in UTF-8")
    if not rows:
        yield text
        return
    for line, row in enumerate(text.split("\n"), 1):
        if row.strip():
            yield _text_of(row, key or TEXT, f"{where}, line {line}")


def _text_of(row: str, key: str, where: str) -> str:
    try:
        found = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({str(error)[:200]}); mend that line.") from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: {type(found).__name__}, but a row must be an object with a text; mend that line.")
    if key not in found:
        known = ", ".join(map(repr, found)) or "none"
        raise DataError(f"{where}: no key {key!r}; it has {known[:200]}: name the text's with --text KEY.")
    text = found[key]
    if not isinstance(text, str):
        raise DataError(f"{where}: {key!r} is {type(text).__name__}, but must be text; mend that line.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: {key!r} has half a surrogate pair, which is no text; mend that line.") from None
    return text
