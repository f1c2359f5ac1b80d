"""A folder on the disk, as far as it lies below its root.

A link is followed once, however many paths lead to it, and never to a folder that it lies in: so a walk ends. What a
link leads to outside of the root is not the data's.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from limen.errors import DataError
from limen.lab.data.members import MOST_MEMBERS, Census, Files, content_of, is_visible, reading


@dataclass(frozen=True)
class _Place:
    """A folder on the walk: its name below the root, where it really is, and where the folders above it are."""

    name: str
    real: str
    above: tuple[str, ...]


class FolderFiles(Files):
    """The regular files below a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._census = Census(path)
        self._followed: set[str] = set()
        """Where the links to folders are that were followed."""
        self._links: set[str] = set()
        """Names that are links to files."""
        files: list[str] = []
        with reading(path, "folder"):
            self._root = os.path.realpath(path)
            places = [_Place("", self._root, ())]
            while places:
                self._list(places.pop(), files, places)
        self.files, self.folders = tuple(sorted(files)), frozenset(self._census.folders)

    def _list(self, place: _Place, files: list[str], places: list[_Place]) -> None:
        with os.scandir(self.path / place.name) as entries:
            visible = (entry for entry in entries if is_visible(entry.name))
            # By name: which of several paths to one link is followed must not depend on the disk.
            found = sorted(itertools.islice(visible, MOST_MEMBERS + 1), key=lambda entry: entry.name)
        for entry in found:
            name = f"{place.name}/{entry.name}".lstrip("/")
            if not entry.is_dir():
                # Listed whatever it is, so that reading it fails instead of losing an image.
                self._census.add(name)
                files.append(name)
                if entry.is_symlink():
                    self._links.add(name)
            elif inside := self._entered(place, name, entry):
                self._census.add(name, folder=True)
                places.append(inside)

    def _entered(self, place: _Place, name: str, entry: os.DirEntry[str]) -> _Place | None:
        """A folder to walk; None where a link to it leads back or was followed."""
        own = os.path.join(place.real, entry.name)
        above = (*place.above, place.real)
        if not entry.is_symlink():
            return _Place(name, own, above)
        real = os.path.realpath(own)
        if real in above or own in self._followed:
            return None
        self._check_inside(name, real)
        self._followed.add(own)
        return _Place(name, real, above)

    def _check_inside(self, name: str, real: str) -> None:
        if os.path.commonpath([real, self._root]) != self._root:
            raise DataError(
                f"{self.path / name} is a link to {real}, outside of {self.path}; put a copy in its place (cp -L), or "
                "give a folder that both lie in."
            )

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """In the order of ``names``."""
        for name in names:
            path = self.path / name
            with reading(path, "file"):
                if name in self._links:
                    self._check_inside(name, os.path.realpath(path))
                content = content_of(path)
            yield name, content

    def where(self, name: str) -> str:
        """Its path."""
        return str(self.path / name)
