"""The backend that the running thread has chosen."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch

Backend = Literal["auto", "plain", "c", "triton"]

blocks = 0
"""How many blocks are open, in whichever thread: where none is, no call has to look further."""
_lock = threading.Lock()
_own: ContextVar[Backend | None] = ContextVar("limen backend", default=None)
_KEY = "limen backend"
"""Under which torch keeps the choice as well, to hand it to the threads that run a backward pass."""


class _Program:
    """What is chosen within the program that torch.compile is writing down, where it follows no thread's state."""

    def __init__(self) -> None:
        self.name: Backend | None = None


program = _Program()


@contextmanager
def of_program(name: Backend) -> Iterator[None]:
    """Choose for the calls of a program within a ``with`` block that is compiled with them."""
    before, program.name = program.name, name
    try:
        yield
    finally:
        program.name = before


@contextmanager
def of_thread(name: Backend) -> Iterator[None]:
    """Choose for this thread, and under asyncio for this task, within a ``with`` block."""
    before, handed = _own.get(), _handed()
    _count(1)
    _own.set(name)
    _hand(name)
    try:
        yield
    finally:
        _own.set(before)
        _hand(handed)
        _count(-1)


def chosen() -> Backend:
    """What this thread has chosen; in a thread of autograd's, what that one has which called ``backward``.

    >>> with of_thread("plain"):
    ...     chosen()
    'plain'
    """
    in_backward = torch._C._current_graph_task_id() != -1
    return _own.get() or (_handed() if in_backward else None) or "auto"


def _handed() -> Backend | None:
    found: Backend | None = torch._C._get_obj_in_tls(_KEY) if torch._C._is_key_in_tls(_KEY) else None
    return found


def _hand(name: Backend | None) -> None:
    """Have torch keep the choice; it lets go of what it kept before."""
    if not _takes_a_reference():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(name))
    torch._C._stash_obj_in_tls(_KEY, name)


@functools.cache
def _takes_a_reference() -> bool:
    """Whether torch counts what it keeps: 2.7.1 does not, and lets go of it all the same."""
    probe = object()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(probe))  # torch's, where it takes none
    before = sys.getrefcount(probe)
    torch._C._stash_obj_in_tls(f"{_KEY}: probe", probe)
    return sys.getrefcount(probe) > before


def _count(change: int) -> None:
    global blocks
    with _lock:
        blocks += change
