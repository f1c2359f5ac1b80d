"""torch's own threads, which kernels share by the entry points of its OpenMP runtime: a second pool would fight them.

torch brings a runtime (GNU's in its wheels for Linux, LLVM's on macOS, Intel's in some other builds) and loads it for
the whole process. All three have GNU's entry point, so that kernels run on as many threads by whichever compiler.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading

import torch

ENTRY_POINTS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


def lend_to(library: ctypes.CDLL) -> None:
    """Have the kernels of a library share torch's threads, where it has any that do and torch's can be reached."""
    found = entry_points()
    with contextlib.suppress(ValueError):  # it has no kernels
        (ctypes.c_void_p * len(ENTRY_POINTS)).in_dll(library, "limen_threads")[:] = found


@functools.cache
def entry_points() -> list[int | ctypes.c_void_p | None]:
    """The addresses of the entry points in torch's runtime; all None where that cannot be reached."""
    try:
        process = ctypes.CDLL(None)
        found = [ctypes.cast(process[name], ctypes.c_void_p).value for name in ENTRY_POINTS]
    except (OSError, AttributeError, TypeError):
        return [None] * len(ENTRY_POINTS)
    return [*found] if all(found) and _sets_threads_of_torch(process) else [None] * len(ENTRY_POINTS)


def _sets_threads_of_torch(process: ctypes.CDLL) -> bool:
    """Whether the runtime that the process finds by name is the very one that torch runs on.

    Asked by doing it: change the number of threads through the one and read it through the other. The number belongs to
    the calling thread, so a thread that ends right after leaves nothing changed.
    """
    agreed = []

    def change() -> None:
        wanted = torch.get_num_threads() % 2 + 1
        process.omp_set_num_threads(wanted)
        agreed.append(torch.get_num_threads() == wanted)

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    return agreed == [True]
