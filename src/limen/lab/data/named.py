"""What stands after ``--data``: the name of a built-in set, or a path. It is looked for before torch is imported."""

from __future__ import annotations

import os
from pathlib import Path

from limen.errors import DataError, SpecError, suggest
from limen.lab.data.files import archive_suffix
from limen.lab.data.members import path_kind

CHARACTERS, BYTES = "characters", "bytes"
"""What a text is divided into, where no file says it."""
BUILTIN = ("digits", "mnist", "fashion-mnist", "cifar10", "svhn")


def names() -> tuple[str, ...]:
    """Return the names of the built-in data sets.

    >>> names()[:2]
    ('digits', 'mnist')
    """
    return BUILTIN


def check_set_or_path(source: str) -> None:
    """Raise for what is neither a built-in set nor a path to anything.

    >>> check_set_or_path("digts")
    Traceback (most recent call last):
    limen.errors.SpecError: No data set is called 'digts' and no such path exists. Did you mean 'digits'? ...
    """
    if source in names() or (source and path_kind(Path(os.path.expanduser(source))) != "missing"):
        return
    if _is_meant_as_path(source):
        raise DataError(f"{source} does not exist; check the spelling, or give the full path.")
    raise SpecError(
        f"No data set is called {source!r} and no such path exists. {suggest(source.lower(), names())} "
        "A path to a folder, .zip or .tar.gz of class folders is accepted too."
    )


def place_of(source: str) -> str:
    """What a name or a path stands for: the same for two paths to one place.

    >>> place_of("digits"), place_of("/data/../data/a") == place_of("/data/a")
    ('digits', True)
    """
    return source if source in names() else os.path.realpath(os.path.expanduser(source))


def check_table(source: str) -> Path:
    """The path of a CSV file; raise where there is no file."""
    path = Path(os.path.expanduser(source))
    kind = path_kind(path)
    if kind != "file":
        what = "does not exist" if kind == "missing" else "is no file"
        raise DataError(f"{source} {what}; --data must name a CSV file with a heading.")
    return path


def check_path(source: str, what: str) -> None:
    """Raise where there is nothing at a path.

    >>> check_path("gone.txt", "a text file")
    Traceback (most recent call last):
    limen.errors.DataError: gone.txt does not exist; --data must name a text file.
    """
    if not source or path_kind(Path(os.path.expanduser(source))) == "missing":
        raise DataError(f"{source or 'An empty path'} does not exist; --data must name {what}.")


def check_tokens(name: str) -> None:
    """Raise for what is neither a kind of tokens nor a file of them.

    >>> check_tokens("words")
    Traceback (most recent call last):
    limen.errors.DataError: --tokens 'words' is neither characters nor bytes, and no such file exists; ...
    """
    if name in (CHARACTERS, BYTES):
        return
    if not name or path_kind(Path(os.path.expanduser(name))) != "file":
        raise DataError(
            f"--tokens {name!r} is neither {CHARACTERS} nor {BYTES}, and no such file exists; give one of them, or a "
            "tokenizer.json."
        )


def _is_meant_as_path(source: str) -> bool:
    separators = filter(None, (os.sep, os.altsep))
    return any(separator in source for separator in separators) or bool(archive_suffix(source))
