"""How many runs this machine computes at a time: what its cores hold with each run's threads, and its memory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from limen.memory import available_bytes, resident_bytes

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """The cores that this process may use: the machine's, those it is bound to, or its container's share.

    >>> cores() > 0
    True
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, _of_container() or bound))


def jobs_that_fit(threads: int, device: str) -> int:
    """The runs that compute at a time unless a number is given.

    A run takes at most what this process has by now, with all libraries and the data, which forks of it share. On a
    GPU it is one: what a run takes of that memory cannot be known here.
    """
    if torch.device(device).type != "cpu":
        return 1
    there, each = available_bytes(), resident_bytes()
    by_memory = there // each if there and each else cores()
    return max(1, min(cores() // threads, by_memory))


def crowded(jobs: int, threads: int) -> str:
    """What is to be said where runs wait for one another; empty where each has its cores.

    >>> crowded(1, 1)
    ''
    """
    there = cores()
    if jobs * threads <= there:
        return ""
    each = "1 thread" if threads == 1 else f"{threads} threads each"
    have = "1 core" if there == 1 else f"{there} cores"
    return (
        f"{jobs} runs at a time of {each} on {have}: they wait for one another; "
        f"--jobs {max(1, there // threads)} takes no longer"
    )


def _of_container() -> int | None:
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # "max"
        return None
