"""The folder of compiled kernels: whom it must belong to, and files that are whole or not there.

What lies in it is run as code, so it is used only if nobody else can write to it; otherwise, or if it cannot be
written, every process compiles for itself in a temporary folder, and `cache_trouble` says why. What lies in one that
cannot be written is used. Its parents are trusted as the user chose them. Every entry ends with a digest of its own
name and content: a library cut short would crash the loader rather than fail. Entries appear by a rename, so any number
of processes can write the same one without a lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from limen.kernels.c.compiler import CompilerHungError, NoCompilerError

T = TypeVar("T")

ENTRY = re.compile(r"\w+-[0-9a-f]{32}\.(so|probe)", re.ASCII)
WORK = ".build-"
MAGIC = b"\nlimen entry 1\n"
ABANDONED = 3600.0

# Folders that this process gave up, and why.
_troubles: dict[Path, str] = {}


def cache_folder() -> Path:
    """Where compiled kernels are kept: $LIMEN_CACHE, else the user's cache folder.

    >>> cache_folder().name
    'kernels'
    """
    chosen = os.environ.get("LIMEN_CACHE")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):
        return Path(xdg, "limen", "kernels")
    home = os.path.expanduser("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    return Path(home, "limen", "kernels")


def cache_trouble() -> str:
    """Why the folder is not used, in a sentence; empty if it is."""
    trusted_folder()
    return _troubles.get(cache_folder(), "")


def cache_size() -> tuple[int, int]:
    """How many files of ours the folder holds, and how many bytes they take."""
    sizes = []
    for entry in _entries():
        with contextlib.suppress(FileNotFoundError):
            sizes.append(entry.stat(follow_symlinks=False).st_size)
    return len(sizes), sum(sizes)


def clear_cache() -> int:
    """Remove our entries, and nothing else; how many there were. Kernels already loaded stay usable."""
    removed = 0
    for entry in _entries() if trusted_folder() else ():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry.path)
            removed += 1
    _remove_abandoned()
    return removed


def forget_troubles() -> None:
    """Look at every folder afresh."""
    _troubles.clear()


def trusted_folder() -> Path | None:
    """The folder, made if need be; None if it must not or cannot be used, which `cache_trouble` then explains."""
    folder = cache_folder()
    if folder in _troubles or os.name != "posix":
        return None
    try:
        real = Path(os.path.realpath(folder))
        reason = _prepared(real)
    except OSError as error:
        reason = f"cannot be used: {error.strerror or error}"
    if reason:
        _troubles[folder] = f"The kernel cache {folder} {reason}; new kernels are compiled in every process."
        return None
    return real


def readable_folder() -> Path | None:
    """The folder to take entries from, if it is there and can be trusted: it need not be one that we can write to."""
    real = Path(os.path.realpath(cache_folder()))
    with contextlib.suppress(OSError):
        there = os.name == "posix" and "~" not in real.parts and real.is_dir()
        return real if there and not _distrusted(real) else None
    return None


def read_entry(path: Path) -> bytes | None:
    """The content of an entry; None unless it is a regular file, ours, writable by nobody else, and whole."""
    try:
        # O_NONBLOCK: a named pipe in its place must not stop us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or _owned_badly(status):
            return None
        try:
            sealed = file.read()
        except OSError:
            return None
    content = sealed[: -len(MAGIC) - 32]
    return content if sealed == content + MAGIC + _digest(path.name, content) else None


def seal(path: Path) -> None:
    """Make a finished file an entry: end it with its digest (loaders ignore what follows a library), for us alone."""
    with open(path, "r+b") as file:
        content = file.read()
        file.write(MAGIC + _digest(path.name, content))
    path.chmod(0o700)


def make_entry(name: str, task: Callable[[Path], T]) -> T:
    """Run ``task(path)``, which writes and seals ``path``, and keep that file as the entry ``name``.

    Where the folder cannot be used, or turns out to be full, the task runs in a temporary folder and nothing is kept.
    """
    failure: Exception | None = None
    folder = trusted_folder()
    if folder is not None:
        try:
            with _work(folder) as work:
                result = task(work / name)
                os.replace(work / name, folder / name)
                return result
        except CompilerHungError:
            raise
        except (OSError, NoCompilerError) as error:
            failure = error
    try:
        with _work(None) as work:
            result = task(work / name)
    except OSError as error:
        raise NoCompilerError(f"There is no folder to compile in: {error.strerror or error}.") from None
    if failure is not None:
        # The same work succeeded elsewhere, so the folder was at fault.
        reason = f"could not be written ({failure}); new kernels are compiled in every process."
        _troubles[cache_folder()] = f"The kernel cache {cache_folder()} {reason}"
    return result


@contextlib.contextmanager
def _work(parent: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=WORK, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _prepared(folder: Path) -> str:
    """Make the folder if it is missing; the reason not to use it, or an empty string."""
    if not folder.is_absolute() or "~" in folder.parts:
        return "has no home folder to be in"
    if not folder.exists():
        existing = next(parent for parent in folder.parents if parent.exists())
        if not existing.is_dir():
            return f"cannot be made, because {existing} is not a folder"
        if os.geteuid() == 0 and existing.stat().st_uid != 0:
            # As under sudo with the user's HOME: what root makes there, the user could not write to later.
            return f"would be made by root in {existing}, which belongs to another user"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
    reason = _distrusted(folder)
    if not reason and not _may(folder, os.W_OK):
        return "cannot be written to"
    return reason


def _distrusted(folder: Path) -> str:
    """The reason not to run what lies in a folder that is there, or an empty string."""
    status = os.stat(folder)
    if not stat.S_ISDIR(status.st_mode):
        return "is not a folder"
    if _owned_badly(status):
        return "belongs to another user or can be written to by others (chmod 700 it, or set LIMEN_CACHE)"
    if not _may(folder, os.R_OK | os.X_OK):
        return "cannot be read"
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        return "is on a file system that runs no programs"
    return ""


def _may(folder: Path, mode: int) -> bool:
    return os.access(folder, mode, effective_ids=os.access in os.supports_effective_ids)


def _owned_badly(status: os.stat_result) -> bool:
    return status.st_uid != os.geteuid() or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


def _entries() -> list[os.DirEntry[str]]:
    folder = readable_folder()
    if folder is None:
        return []
    with os.scandir(folder) as found:
        return [entry for entry in found if ENTRY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]


def _remove_abandoned() -> None:
    """Remove what killed processes left behind, long after any build could still be running."""
    folder = trusted_folder()
    if folder is None:
        return
    for path in folder.glob(f"{WORK}*"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < time.time() - ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
