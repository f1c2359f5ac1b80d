"""A file read whole, if it is one: a device has no end, a pipe waits for ever, and some files are too large."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from limen.errors import LimenError


def read_whole(path: Path, largest: int, error: type[LimenError]) -> bytes:
    """The content of a file; raises an ``error`` where it is none or has more than ``largest`` bytes."""
    status = os.stat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # opening a folder says what it is
        raise error(f"{path} is no file but a device, a pipe or the like; give a file.")
    if status.st_size > largest:
        raise error(f"{path} has {status.st_size:,} bytes, more than the {largest:,} allowed.")
    with path.open("rb") as file:
        return file.read(status.st_size)  # and no more, should it grow
