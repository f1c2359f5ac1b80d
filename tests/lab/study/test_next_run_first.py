"""The next run begins before the one that has ended is stored: what computes does not wait for the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers_lab import Recorder, tiny

from limen.lab.executing.work import Ended, Event, Job
from limen.lab.records import DataFacts, RunRecord
from limen.lab.study.agenda import InOrder, Pair
from limen.lab.study.running import Runs
from limen.lab.study.store import StudyFolder

FACTS = DataFacts(name="digits", classes=("0", "1"), image_shape=(1, 8, 8), train=2, validation=1, test=1,
                  fingerprint="abc")  # fmt: skip


def record(activation: str, seed: int) -> RunRecord:
    return RunRecord(
        activation=activation, seed=seed, status="finished", epochs=1, best_epoch=1, seconds=1.0, ms_per_step=1.0,
        peak_memory_mb=1.0, parameters=10, activation_parameters=0, metrics={"test_accuracy": 0.9, "val_accuracy": 0.9},
    )  # fmt: skip


class One:
    """Computes one job at a time, at once."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard
        self.job: Job | None = None

    @property
    def free(self) -> int:
        return int(self.job is None)

    def submit(self, job: Job) -> None:
        assert self.job is None
        self.heard.append(f"begin {job.activation}")
        self.job = job

    def wait(self, hear: Callable[[Event], None]) -> None:
        assert self.job is not None
        job, self.job = self.job, None
        hear(Ended(job, record(*job.key)))


def told(folder: Path, monkeypatch: pytest.MonkeyPatch, needs: Callable[[Pair], Pair | None]) -> list[str]:
    heard: list[str] = []
    home = StudyFolder(folder)
    study = home.open(tiny(), FACTS, {}, "limen compare")
    plain = StudyFolder.write_run

    def write(self: StudyFolder, run: RunRecord) -> None:
        heard.append(f"store {run.activation}")
        plain(self, run)

    monkeypatch.setattr(StudyFolder, "write_run", write)
    pairs = [("relu", 0), ("asau", 0)]
    kept: Any = SimpleNamespace(add=lambda run: None)
    Runs(study, home, Recorder(), One(heard), InOrder(pairs, needs), needs, kept).all()
    assert home.count_runs() == len(pairs)
    return heard


def test_the_next_run_begins_before_the_last_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(tmp_path, monkeypatch, lambda pair: None) == ["begin relu", "begin asau", "store relu", "store asau"]


def test_but_not_one_that_builds_upon_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs: dict[Pair, Pair] = {("asau", 0): ("relu", 0)}
    assert told(tmp_path, monkeypatch, needs.get) == ["begin relu", "store relu", "begin asau", "store asau"]
