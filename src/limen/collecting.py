"""Python's search for objects that are kept by themselves alone, which walks over all that there are."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 1000
"""Searches among what is new until one among everything. Python's own is 10, by which a study of 36 small runs searched
everything four times, half a second altogether, and found a thousand objects."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Around the reading of many records, none of which refers to itself: looking for those that do takes a tenth."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def freed_afterwards() -> Iterator[None]:
    """Around a run: what it made and only refers to itself, as networks and optimizers do, is freed when it ends.

    What was there before is not searched, so that this takes milliseconds.
    """
    nothing_kept = gc.get_freeze_count() == 0  # a fork shares what its parent froze, and would copy it
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        if nothing_kept:
            gc.unfreeze()


def seldom() -> None:
    """Search everything seldom, and not when the process ends; what is new is searched as often as before.

    For a process of our own: at its end half a second would go into what the system takes back at once.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, SELDOM)
    atexit.register(gc.freeze)
