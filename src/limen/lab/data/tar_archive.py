"""A tar, packed or not, read in memory and never unpacked to disk, so no member name can reach outside of anything."""

from __future__ import annotations

import gzip
import posixpath
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from limen.errors import DataError
from limen.lab.data import tar_headers
from limen.lab.data.members import (
    MOST_LINKS,
    Census,
    Files,
    check_size,
    check_unpacked,
    normal,
    reading,
)
from limen.lab.data.tar_headers import BLOCK, Member


class TarFiles(Files):
    """The members of a tar. Its links are kept: a repeated file is stored as a link to its first copy."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._members: dict[str, Member] = {}
        census = Census(path)
        with reading(path, "tar archive"), _opened(path) as file:
            for member in tar_headers.members(file):
                check_unpacked(path, member.offset + member.size)
                self._note(member, census)
            _read_out(path, file)
        self.files = tuple(sorted(self._members))
        self.folders = frozenset(census.folders)

    def _note(self, member: Member, census: Census) -> None:
        name = normal(member.name)
        folder = member.kind == "folder"
        if census.add(name, folder=folder) and not folder:
            self._members[name] = member

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """In the order of the archive: packed, it can only be read forwards, else it is unpacked again and again."""
        found = sorted(((self._file(name), name) for name in names), key=lambda pair: (pair[0].offset, pair[1]))
        check_unpacked(self.path, sum(member.size for member, _ in found))
        content, known = b"", -1
        with reading(self.path, "tar archive"), _opened(self.path) as file:
            for member, name in found:
                check_size(self.where(name), member.size)
                if member.offset != known:
                    content, known = self._content(file, member, name), member.offset
                yield name, content

    def _content(self, file: BinaryIO, member: Member, name: str) -> bytes:
        with reading(self.path, f"tar archive at {name!r}"):
            file.seek(member.offset)
            content = file.read(member.size)
            if len(content) < member.size:
                raise EOFError(f"{member.size:,} bytes promised, {len(content):,} there")
        return content

    def _file(self, name: str) -> Member:
        """The member, or that which a link leads to."""
        member = self._members[name]
        at, first = name, member
        for _ in range(MOST_LINKS):
            if member.kind == "file":
                return member
            if member.kind == "other":
                raise DataError(f"{self.where(name)} is no file but a device, a pipe or the like; remove it.")
            # A hard link names a member, a soft one what lies beside it.
            above = posixpath.dirname(at) if member.kind == "soft" and not member.link.startswith("/") else ""
            at = normal(posixpath.join(above, member.link))
            if at not in self._members:
                raise DataError(
                    f"{self.where(name)} is a link to {first.link[:200]!r}, which the archive does not hold; pack the "
                    "files themselves (tar --dereference)."
                )
            member = self._members[at]
        raise DataError(
            f"{self.where(name)} is a link to {first.link[:200]!r}, which leads through more than {MOST_LINKS} links "
            "or back to itself; pack the files themselves (tar --dereference)."
        )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """By content, not by suffix: browsers unpack a .tar.gz on the way and keep its name."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            yield file


def _read_out(path: Path, file: BinaryIO) -> None:
    """To the end, since gzip compares its checksum only there."""
    while file.read(BLOCK * 2**7):
        check_unpacked(path, file.tell())
