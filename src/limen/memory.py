"""How much memory there is, asked before much of it is taken."""

from __future__ import annotations

import os

from limen.errors import LimenError


class TooLargeError(LimenError, MemoryError):
    """Something needs more memory than there is."""


def physical_bytes() -> int | None:
    """The machine's memory; None where the system does not tell.

    >>> (physical_bytes() or 1) > 0
    True
    """
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def require_memory(needed: int, what: str, instead: str) -> None:
    """Raise where something would take more than the whole memory, before it is begun.

    Args:
        needed: bytes.
        what: begins the error's sentence.
        instead: ends it: what to do.

    Raises:
        TooLargeError: naming both numbers.

    >>> require_memory(10**18, "this input", "take fewer elements")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    limen.memory.TooLargeError: this input needs 1,000,000,000.0 GB of memory and there are ... GB; take fewer elements.
    """
    there = physical_bytes()
    if there is not None and needed > there:
        raise TooLargeError(
            f"{what} needs {needed / 1e9:,.1f} GB of memory and there are {there / 1e9:,.1f} GB; {instead}."
        )
