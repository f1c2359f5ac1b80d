"""Kernels that came with the package: of the activations it has, in one library for each kind of processor.

A wheel for Linux has them (`limen.shipping` builds them); a checkout and the source distribution do not. Each kernel's
functions begin with the digest of its source, so that a library has a kernel if it has the names, and one whose source
has changed since is not found. They lie where the package's own code lies, and are trusted as that is.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import Any

from limen.kernels.c import threads

FOLDER = Path(__file__).parent / "libraries"
EXPORTED = ("forward", "forward_short", "forward_short_of_logits", "backward", "learn", "short_call_of")
"""The functions of a kernel that are called from outside."""

# Of x86-64: the features that compilers take for granted at a level, by their names in /proc/cpuinfo.
_V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
X86 = {"x86-64-v4": _V4, "x86-64-v3": _V3}
"""The levels that libraries are built for, the best first."""
PROCESSORS = (*X86, "aarch64")


class ShippedKernel:
    """One kernel of the library, whose functions are called as those of a library of its own."""

    def __init__(self, library: ctypes.CDLL, prefix: str) -> None:
        self._library, self._prefix = library, prefix

    def __getattr__(self, name: str) -> Any:
        return self._library[f"{self._prefix}_{name}"]


def find(source: str) -> ShippedKernel | None:
    """The kernel of this very C source; None where it did not come with the package."""
    found, prefix = library(), prefix_of(source)
    there = found is not None and any(hasattr(found, f"{prefix}_{name}") for name in EXPORTED)
    return ShippedKernel(found, prefix) if found is not None and there else None


def prefix_of(source: str) -> str:
    """What the names of a kernel's functions begin with."""
    return f"k{hashlib.sha256(source.encode()).hexdigest()[:20]}"


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library for this processor; None where there is none, or it cannot be loaded."""
    path = path_for(processor())
    if path is None:
        return None
    try:
        found = ctypes.CDLL(str(path))
    except OSError:
        return None  # as where no extension module of Python's can be loaded either
    threads.lend_to(found)
    return found


def path_for(kind: str) -> Path | None:
    """Where the library for a kind of processor lies; None if there is none."""
    path = FOLDER / f"{kind}.so"
    return path if kind and path.is_file() else None


def processor() -> str:
    """Which of the libraries this processor can run; empty for none."""
    machine = platform.machine().lower()
    if sys.platform != "linux" or os.environ.get("LIMEN_SHIPPED") == "0":
        return ""
    if machine in ("aarch64", "arm64"):
        return "aarch64"
    features = _features() if machine in ("x86_64", "amd64") else frozenset[str]()
    return next((level for level, needed in X86.items() if needed <= features), "")


def _features() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        flags = ""
    return frozenset(flags.partition(":")[2].split())
