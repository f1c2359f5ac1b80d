"""A zip archive, read in memory and never unpacked to disk, so no member name can reach outside of anything."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from limen.errors import DataError
from limen.lab.data.members import (
    MOST_MEMBERS,
    Census,
    Files,
    check_size,
    check_unpacked,
    normal,
    reading,
)

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of the others zipfile unpacks a whole piece of input at once, and 4 kB of bzip2 may be gigabytes."""
LARGEST_DIRECTORY = 2**28
"""Bytes of the list of members."""
_MEMBER, _END, _END_64 = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06"
_END_BYTES, _END_64_BYTES, _LOCATOR_64_BYTES = 22, 56, 20
_LONGEST_END = _END_64_BYTES + _LOCATOR_64_BYTES + _END_BYTES + 2**16


class ZipFiles(Files):
    """The members of a zip."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        census = Census(path)
        with reading(path, "zip archive"), path.open("rb") as file:
            _check_directory(path, file)
            with zipfile.ZipFile(file) as archive:
                check_unpacked(path, sum(info.file_size for info in archive.infolist()))
                for info in archive.infolist():
                    self._note(info, census)
        self.files = tuple(sorted(self._members))
        self.folders = frozenset(census.folders)

    def _note(self, info: zipfile.ZipInfo, census: Census) -> None:
        # Some Windows programs write backslashes, against the zip standard.
        name = normal(info.filename.replace("\\", "/"))
        folder = info.filename.endswith(("/", "\\"))
        if census.add(name, folder=folder) and not folder:
            self._members[name] = info  # as when unpacking, a later member of the same name wins

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """In the order of the archive."""
        with ExitStack() as stack:
            with reading(self.path, "zip archive"):
                archive = stack.enter_context(zipfile.ZipFile(self.path))
            for name in sorted(names, key=lambda name: self._members[name].header_offset):
                yield name, self._content(archive, name)

    def _content(self, archive: zipfile.ZipFile, name: str) -> bytes:
        info = self._members[name]
        check_size(self.where(name), info.file_size)
        if info.flag_bits & 1:
            raise DataError(f"{self.where(name)} is encrypted; unpack the archive and give the folder instead.")
        if info.compress_type not in METHODS:
            raise DataError(
                f"{self.where(name)} has the compression {info.compress_type}; pack the archive anew with deflate, as "
                "zip does by itself."
            )
        with reading(self.path, f"zip archive at {name!r}"), archive.open(info) as member:
            # Without a number it would unpack all that there is, whatever it says.
            content = member.read(info.file_size)
            if len(content) < info.file_size:
                raise EOFError(f"{info.file_size:,} bytes promised, {len(content):,} there")
        return content


def _check_directory(path: Path, file: BinaryIO) -> None:
    """Raise for a list of members that is too long: zipfile reads it whole, and takes 15 times its size."""
    start, size = _directory(file)
    if size > LARGEST_DIRECTORY:
        raise DataError(
            f"{path} has a list of members of {size:,} bytes, more than the {LARGEST_DIRECTORY:,} allowed; give a part "
            "of it."
        )
    file.seek(max(0, start))
    if file.read(size).count(_MEMBER) > MOST_MEMBERS:
        raise DataError(f"{path} has more than the {MOST_MEMBERS:,} files and folders allowed; give a part of it.")


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Where the list of members begins and how long it is, as zipfile finds it: in front of the record that ends it."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _LONGEST_END))
    tail = file.read()
    alone = len(tail) - _END_BYTES
    at = alone if tail[alone:].startswith(_END) and tail.endswith(b"\0\0") else tail.rfind(_END)
    if alone < 0 or not 0 <= at <= alone:
        return 0, 0
    (size,) = struct.unpack_from("<L", tail, at + 12)
    record = at - _LOCATOR_64_BYTES - _END_64_BYTES
    if record >= 0 and tail.startswith(_END_64, record):
        (size,), at = struct.unpack_from("<Q", tail, record + 40), record
    return length - len(tail) + at - size, size
