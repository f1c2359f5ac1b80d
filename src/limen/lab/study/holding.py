"""A study's folder is written by one process at a time, which others can name."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from limen.errors import StudyError

_WRITER = ".writer"
"""Holds who has the lock; the lock's own file is emptied by whoever tries it."""


class Held:
    """A folder that this process has, until the end of a ``with`` block or of the process."""

    def __init__(self, lock: FileLock, writer: Path) -> None:
        self._lock, self._writer = lock, writer

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._writer.unlink()
        self._lock.release()


def hold(path: Path) -> Held:
    """Take the folder for this process, or say that another has it; released when the process ends."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise StudyError(
            f"the folder {path} cannot be made ({error.strerror}: {error.filename}); choose another --out."
        ) from None
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"another limen is writing to {path}{_writer(path)}; wait for it, or choose another --out."
        ) from None
    since = datetime.now().isoformat(sep=" ", timespec="seconds")
    with suppress(OSError):  # nothing depends on it
        note = f"process {os.getpid()} on {platform.node()}, since {since}"
        (path / _WRITER).write_text(note, encoding="utf-8")
    return Held(lock, path / _WRITER)


def _writer(path: Path) -> str:
    """Who has the folder, as far as that was noted."""
    with suppress(OSError, UnicodeDecodeError):
        return f" ({(path / _WRITER).read_text(encoding='utf-8')})"
    return ""
