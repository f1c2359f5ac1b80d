"""What the tests of executors share: the rows that must be alike, and runs to which something is done."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from limen.lab.records import RunRecord
from limen.lab.training import run as training

TIMES = ("seconds", "ms_per_step")


def rows(folder: Path) -> list[dict[str, str]]:
    """``runs.csv`` without what is a time."""
    with (folder / "runs.csv").open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def done_to_runs(monkeypatch: pytest.MonkeyPatch, deed: Callable[[str, int], object]) -> None:
    """Have something done at the beginning of every run, where that is computed."""
    really = training.run

    def run(experiment: object, activation: str, seed: int, *more: object, **named: object) -> RunRecord:
        deed(activation, seed)
        return really(experiment, activation, seed, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "run", run)


def die() -> None:
    """As the system ends a process, at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def children(parent: int) -> list[int]:
    """The processes that a process has made."""
    return [pid for pid, (_, of) in _processes().items() if of == parent]


def living(pids: Iterable[int]) -> list[int]:
    """Those of the processes that have not ended."""
    now = _processes()
    return [pid for pid in pids if pid in now and now[pid][0] not in "ZX"]


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not become true in {seconds} seconds"
        time.sleep(0.05)


def _processes() -> dict[int, tuple[str, int]]:
    """State and parent of every process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
            found[int(stat.parent.name)] = state, int(parent)
    return found
