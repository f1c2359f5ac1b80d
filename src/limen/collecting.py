"""Python's search for objects that are kept by themselves alone, which walks over all that there are."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 1000
"""Searches among what is new until one among everything. Python's own is 10, by which a command that imports torch
searched everything a dozen times, a second altogether, and found nothing."""


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


def seldom() -> None:
    """Search everything seldom, and not when the process ends; what is new is searched as often as before.

    For a process of our own: at its end half a second would go into what the system takes back at once.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, SELDOM)
    atexit.register(gc.freeze)
