"""What folders and archives have in common: member names under stated limits, and their bytes.

``docs/hostile-input.md`` lists the limits.
"""

from __future__ import annotations

import lzma
import posixpath
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from limen.errors import DataError
from limen.reading import read_whole

LARGEST_MEMBER = 2**30
"""Bytes. No image is larger; a member that says it is would only fill the memory."""
MOST_MEMBERS = 1_500_000
"""Files and folders together: ImageNet has 1.4 million files."""
DEEPEST = 64
"""Folders above a file."""
LONGEST_NAME = 1024
"""Characters of a name with the folders above it."""
MOST_LETTERS = 2**27
"""Characters of all names together."""
UNPACKED, RATIO = 2**32, 200
"""An archive may unpack to so many bytes, or to so many times its own where that is more."""
MOST_LINKS = 40
"""Links that lead to one another, as Linux allows."""

# What the standard library raises for damaged archives, found by damaging archives at random.
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    NotImplementedError,
    OSError,
)


class Files(ABC):
    """The files and folders below ``path``; names are relative and use ``/``.

    What is hidden, and a Macintosh's own, is left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: tuple[str, ...] = ()
        self.folders: frozenset[str] = frozenset()

    @abstractmethod
    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of each member in ``names``, in the order in which they are stored."""

    def where(self, name: str) -> str:
        """Name a member as a message should, archive included."""
        return f"{name!r} in {self.path}"


class Census:
    """Takes names one by one, and raises as soon as they are too many, too long, too deep, or no text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folders: set[str] = set()
        self.seen = self.letters = 0

    def add(self, name: str, *, folder: bool = False) -> bool:
        """Count a member with the folders that it lies in; whether it is to be listed."""
        self._count(name)
        if not name or not is_visible(name):
            return False
        self._check(name)
        above = name if folder else name.rpartition("/")[0]
        while above and above not in self.folders:
            self.folders.add(above)
            self._count(above)
            above = above.rpartition("/")[0]
        return True

    def _check(self, name: str) -> None:
        if len(name) > LONGEST_NAME:
            raise DataError(
                f"{self.path} has a name of {len(name):,} characters, {name[:40]!r}…, more than the {LONGEST_NAME:,} "
                "allowed; give it a shorter one."
            )
        if name.count("/") > DEEPEST:
            raise DataError(
                f"{self.path} has folders in one another, {name[:40]!r}…, deeper than the {DEEPEST} allowed; give one "
                "further down."
            )
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = name.encode(errors="backslashreplace").decode()
            raise DataError(f"{self.path} has the file name '{shown}', which is no text in UTF-8; rename it.") from None

    def _count(self, name: str) -> None:
        self.seen += 1
        self.letters += len(name)
        if self.seen > MOST_MEMBERS or self.letters > MOST_LETTERS:
            raise DataError(
                f"{self.path} has more than the {MOST_MEMBERS:,} files and folders allowed, or more than "
                f"{MOST_LETTERS:,} characters in their names; give a part of it."
            )


def is_visible(name: str) -> bool:
    """Return whether no part of a name is hidden or a Macintosh's own."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def normal(name: str) -> str:
    """Give a member's name one spelling: ``./cat/1.png``, ``/cat/1.png`` and ``../cat/1.png`` are alike."""
    return posixpath.normpath("/" + name).lstrip("/")


def check_size(where: str, size: int) -> None:
    """Raise for a member that is too large."""
    if size > LARGEST_MEMBER:
        raise DataError(f"{where} says it has {size:,} bytes, more than the {LARGEST_MEMBER:,} allowed.")


def content_of(path: Path) -> bytes:
    """The content of a file on the disk."""
    return read_whole(path, LARGEST_MEMBER, DataError)


def check_unpacked(path: Path, total: int) -> None:
    """Raise for an archive that unpacks to too much."""
    if total > UNPACKED and total > RATIO * path.stat().st_size:
        raise DataError(
            f"{path} unpacks to {total:,} bytes or more, beyond both {UNPACKED:,} and {RATIO} times its own size; "
            "unpack it and give the folder instead."
        )


def path_kind(path: Path) -> str:
    """Say whether ``path`` is a ``folder``, a ``file``, something ``other``, or ``missing``."""
    try:
        # os.path.isdir and Path.exists differ between Python versions on folders that may not be entered.
        path.stat()
    except PermissionError as error:
        raise _no_permission(path) from error
    except (OSError, ValueError):  # a name too long, or with a zero byte, names nothing
        return "missing"
    return "folder" if path.is_dir() else "file" if path.is_file() else "other"


def check_path(path: Path) -> None:
    """Raise for a path to nothing."""
    if path_kind(path) == "missing":
        raise DataError(f"{path} does not exist; check the spelling, or give the full path.")


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn the standard library's complaints about a damaged or forbidden file into one sentence."""
    try:
        yield
    except PermissionError as error:
        raise _no_permission(Path(error.filename or path)) from error
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{path} cannot be read as a {kind}, it is damaged or incomplete ({reason}); copy or download it again."
        ) from error


def _no_permission(path: Path) -> DataError:
    return DataError(f"{path} cannot be read: permission denied; allow reading it, or choose another path.")
