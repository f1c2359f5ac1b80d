"""A file that is published somewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name below a base URL, and its hash as ``sha256:…`` or ``md5:…``."""

    name: str
    hash: str
