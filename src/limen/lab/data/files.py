"""One read-only view of a folder, a .zip and a .tar.gz: member names, and their bytes.

Archives are read in memory and never unpacked to disk, so no member name can reach outside of anything.
"""

from __future__ import annotations

import lzma
import os
import posixpath
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from limen.errors import DataError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
LARGEST_MEMBER = 2**30
"""Bytes. No image is larger; a member that says it is would only fill the memory."""

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
    """The files and folders below ``path``; names are relative and use ``/``."""

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


def archive_suffix(name: str) -> str:
    """Return the archive suffix of a file name, or an empty string.

    >>> archive_suffix("Training.ZIP"), archive_suffix("a.tar.gz"), archive_suffix("a.png")
    ('.zip', '.tar.gz', '')
    """
    return next((suffix for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), "")


def open_files(path: Path) -> Files:
    """Open a folder or an archive; anything else is a :class:`DataError` that says what ``path`` is."""
    kind = path_kind(path)
    if kind == "missing":
        raise DataError(f"{path} does not exist; check the spelling, or give the full path.")
    if kind == "folder":
        return _FolderFiles(path)
    if kind == "file" and archive_suffix(path.name):
        return _ZipFiles(path) if archive_suffix(path.name) == ".zip" else _TarFiles(path)
    raise DataError(
        f"{path} is neither a folder nor an archive; give a folder of class folders, or such a folder "
        f"packed as {', '.join(ARCHIVE_SUFFIXES)}."
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


def _normal(name: str) -> str:
    """Give a member's name one spelling: ``./cat/1.png``, ``/cat/1.png`` and ``../cat/1.png`` are alike."""
    return posixpath.normpath("/" + name).lstrip("/")


def _parents(names: Collection[str]) -> set[str]:
    """Return every folder that is part of one of the names."""
    return {"/".join(parts[:n]) for parts in (name.split("/") for name in names) for n in range(1, len(parts))}


def _check_size(where: str, size: int) -> None:
    if size > LARGEST_MEMBER:
        raise DataError(f"{where} says it has {size:,} bytes, more than the {LARGEST_MEMBER:,} allowed.")


class _FolderFiles(Files):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        files: list[str] = []
        folders: set[str] = set()
        with reading(path, "folder"):
            self._walk(path, "", files, folders, (path.resolve(),))
        self.files, self.folders = tuple(sorted(files)), frozenset(folders)

    def _walk(self, folder: Path, prefix: str, files: list[str], folders: set[str], above: tuple[Path, ...]) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if not entry.is_dir():
                    # A link to nowhere is listed, so that reading it fails instead of losing an image.
                    if entry.is_file() or entry.is_symlink():
                        files.append(name)
                    continue
                real = Path(entry.path).resolve()
                if real not in above:  # a link to a folder above would never end
                    folders.add(name)
                    self._walk(Path(entry.path), name + "/", files, folders, (*above, real))

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            path = self.path / name
            with reading(path, "file"):
                _check_size(str(path), path.stat().st_size)
                content = path.read_bytes()
            yield name, content

    def where(self, name: str) -> str:
        return str(self.path / name)


class _ZipFiles(Files):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        folders: set[str] = set()
        with reading(path, "zip archive"), zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                # Some Windows programs write backslashes, against the zip standard.
                name = _normal(info.filename.replace("\\", "/"))
                if info.filename.endswith(("/", "\\")):
                    folders.add(name)
                else:
                    self._members[name] = info  # as when unpacking, a later member of the same name wins
        self.files = tuple(sorted(self._members))
        self.folders = frozenset(folders | _parents(self._members.keys() | folders))

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        with ExitStack() as stack:
            with reading(self.path, "zip archive"):
                archive = stack.enter_context(zipfile.ZipFile(self.path))
            for name in sorted(names, key=lambda name: self._members[name].header_offset):
                yield name, self._content(archive, name)

    def _content(self, archive: zipfile.ZipFile, name: str) -> bytes:
        info = self._members[name]
        _check_size(self.where(name), info.file_size)
        if info.flag_bits & 1:
            raise DataError(f"{self.where(name)} is encrypted; unpack the archive and give the folder instead.")
        with reading(self.path, f"zip archive at {name!r}"):
            return archive.read(info)


class _TarFiles(Files):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # Links are kept: tar stores a repeated file as a link to its first copy inside the archive.
        self._members: dict[str, tarfile.TarInfo] = {}
        folders: set[str] = set()
        with reading(path, "tar archive"), _open_tar(path) as archive:
            for member in archive:
                if member.isdir():
                    folders.add(_normal(member.name))
                elif member.isfile() or member.islnk() or member.issym():
                    self._members[_normal(member.name)] = member
            _check_end(archive)
        self.files = tuple(sorted(self._members))
        self.folders = frozenset((folders | _parents(self._members.keys() | folders)) - {""})

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        with ExitStack() as stack:
            with reading(self.path, "tar archive"):
                archive = stack.enter_context(_open_tar(self.path))
            # A compressed tar can only be read forwards; any other order would unpack it again and again.
            for name in sorted(names, key=lambda name: self._members[name].offset):
                yield name, self._content(archive, name)

    def _content(self, archive: tarfile.TarFile, name: str) -> bytes:
        member = self._members[name]
        _check_size(self.where(name), member.size)
        with reading(self.path, f"tar archive at {name!r}"):
            try:
                file = archive.extractfile(member)
            except KeyError:
                file = None
            if file is None:
                raise DataError(
                    f"{self.where(name)} is a link to {member.linkname!r}, which the archive does not "
                    "hold; pack the files themselves (tar --dereference)."
                )
            with file:
                return file.read()


def _open_tar(path: Path) -> tarfile.TarFile:
    """Open by content, not by suffix: browsers unpack a .tar.gz on the way and keep its name."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return tarfile.open(path, "r:gz" if packed else "r:")


def _check_end(archive: tarfile.TarFile) -> None:
    """Refuse a tar without its end mark: Python takes a damaged header for the end and drops what follows."""
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end mark after {len(archive.getmembers())} members")
    while file.read(2**16):  # gzip compares its checksum only when read to the end
        pass
