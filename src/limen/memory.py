"""How much memory there is, asked before much of it is taken."""

from __future__ import annotations

import os

from limen.errors import LimenError

_ON_CPU = "can't allocate memory"
"""What torch's allocator on a CPU says in a RuntimeError."""
_AVAILABLE = "/proc/meminfo"
_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class TooLargeError(LimenError, MemoryError):
    """Something needs more memory than there is."""


def physical_bytes() -> int | None:
    """The memory that this process may have: the machine's, or its container's; None where the system does not tell.

    >>> (physical_bytes() or 1) > 0
    True
    """
    return min((size for size in (_of_machine(), _of_container(), _of_process()) if size), default=None)


def available_bytes() -> int | None:
    """What of that memory is free, or would be given up by caches; None where the system does not tell.

    >>> (available_bytes() or 1) > 0
    True
    """
    in_container = _left_in_container()
    return min((size for size in (_left_of_machine(), in_container, _of_process()) if size is not None), default=None)


def resident_bytes() -> int | None:
    """The memory that this process holds now; None where the system does not tell.

    >>> (resident_bytes() or 1) > 0
    True
    """
    pages = _number("/proc/self/statm", field=1)
    return None if pages is None else pages * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left: Python's, NumPy's, or torch's on any device.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("no such operator"))
    (True, False)
    """
    named = "OutOfMemoryError" in (kind.__name__ for kind in type(error).__mro__)  # torch's, on a GPU
    return isinstance(error, MemoryError) or named or (isinstance(error, RuntimeError) and _ON_CPU in str(error))


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


def _of_machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _of_container() -> int | None:
    path = next((path for path in _CONTAINER if os.path.exists(path)), None)
    if path is None:
        return None
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):  # "max"
        return None


def _left_of_machine() -> int | None:
    try:
        with open(_AVAILABLE, encoding="ascii") as file:
            line = next(line for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # Linux alone has it
        return None
    return 1024 * int(line.split()[1])


def _left_in_container() -> int | None:
    limit, used = _of_container(), _number("/sys/fs/cgroup/memory.current")
    if limit is None or used is None:
        return None
    return max(0, limit - used + (_cached_in_container() or 0))


def _cached_in_container() -> int | None:
    """What files hold of it, and would be given up."""
    try:
        with open("/sys/fs/cgroup/memory.stat", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("inactive_file "))
    except (OSError, StopIteration):
        return None


def _number(path: str, field: int = 0) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read().split()[field])
    except (OSError, ValueError, IndexError):
        return None


def _of_process() -> int | None:
    """What ``ulimit -v`` says."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit
