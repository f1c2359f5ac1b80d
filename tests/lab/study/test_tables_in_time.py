"""The tables of a study while its runs end: seldom enough, in time, and whole at the end."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_lab import tiny

from limen.lab.executing.work import Ended, Job
from limen.lab.records import DataFacts, RunRecord
from limen.lab.study import tables
from limen.lab.study.agenda import InOrder
from limen.lab.study.running import Runs
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.tables import SHARE, Tables
from limen.lab.tasks import declared

FACTS = DataFacts(name="digits", classes=("0", "1"), image_shape=(1, 8, 8), train=2, validation=1, test=1,
                  fingerprint="abc")  # fmt: skip
SEEDS = 40


def record(activation: str, seed: int) -> RunRecord:
    return RunRecord(
        activation=activation, seed=seed, status="finished", epochs=1, best_epoch=1, seconds=1.0, ms_per_step=1.0,
        peak_memory_mb=1.0, parameters=10, activation_parameters=0,
        metrics={"test_accuracy": 0.9 + 0.001 * seed, "test_loss": 0.5},
    )  # fmt: skip


class Clock:
    """Time that passes only where it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(tables, "time", found)
    return found


@pytest.fixture
def study(tmp_path: Path) -> tuple[Study, StudyFolder]:
    folder = StudyFolder(tmp_path / "study")
    folder.path.mkdir()
    return folder.open(tiny(seeds=tuple(range(SEEDS))), FACTS, {}, "limen compare"), folder


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, study: Any, clock: Clock) -> list[float]:
    """When the tables were written; each time takes a second for every 20 runs."""
    moments: list[float] = []
    plain = StudyFolder.write_tables

    def slow(self: StudyFolder, runs: Any, summary: Any) -> None:
        moments.append(clock.now)
        clock.now += len(runs) / 20
        plain(self, runs, summary)

    monkeypatch.setattr(StudyFolder, "write_tables", slow)
    return moments


def seeds_in(folder: StudyFolder) -> list[tuple[str, str]]:
    return [
        (row["activation"], row["seed"]) for row in csv.DictReader((folder.path / "runs.csv").read_text().splitlines())
    ]


def test_runs_that_take_long_are_in_the_tables_at_once(study: Any, clock: Clock, written: list[float]) -> None:
    with Tables(declared.find("classification"), *study, ()) as kept:
        for seed in range(4):
            clock.now += 60
            kept.add(record("asau", seed))
            kept.refresh()
            assert len(written) == seed + 1
            assert len(seeds_in(study[1])) == seed + 1


def test_tables_take_a_bounded_part_of_the_time(study: Any, clock: Clock, written: list[float]) -> None:
    with Tables(declared.find("classification"), *study, ()) as kept:
        began = clock.now
        for seed in range(SEEDS):
            for activation in ("asau", "relu"):
                clock.now += 0.5
                kept.add(record(activation, seed))
                kept.refresh()
        spent = clock.now - began - 0.5 * 2 * SEEDS
        assert spent < 2 * 0.5 * 2 * SEEDS / SHARE + 2
    assert len(written) < 10
    ordered = [(activation, str(seed)) for activation in ("relu", "asau") for seed in range(SEEDS)]
    assert seeds_in(study[1]) == ordered


def test_an_interrupted_study_has_whole_tables(study: Any, clock: Clock, written: list[float]) -> None:
    earlier = [record("relu", seed) for seed in range(SEEDS)]
    with pytest.raises(KeyboardInterrupt), Tables(declared.find("classification"), *study, earlier) as kept:  # noqa: PT012
        for seed in range(5):
            kept.add(record("asau", seed))
        raise KeyboardInterrupt
    assert len(seeds_in(study[1])) == SEEDS + 5


def test_a_study_that_lacks_nothing_keeps_its_tables(study: Any, written: list[float]) -> None:
    with Tables(declared.find("classification"), *study, [record("relu", 0)]):
        pass
    assert written == []


class Quiet:
    """A listener."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *told: None


class Told:
    """An executor of one run at a time, and tables: both note what they are told."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.job: Job | None = None

    @property
    def free(self) -> int:
        return int(self.job is None)

    def submit(self, job: Job) -> None:
        self.noted.append(f"begun {job.seed}")
        self.job = job

    def wait(self, hear: Callable[[Any], None]) -> None:
        assert self.job is not None
        job, self.job = self.job, None
        hear(Ended(job, record(job.activation, job.seed)))

    def add(self, run: RunRecord) -> None:
        self.noted.append(f"stored {run.seed}")

    def refresh(self) -> None:
        self.noted.append("tables")


def test_tables_are_written_while_the_next_run_is_computed(study: Any) -> None:
    told = Told()
    agenda = InOrder([("relu", 0), ("relu", 1)])
    Runs(*study, Quiet(), told, agenda, lambda pair: None, told).all()  # type: ignore[arg-type]
    assert told.noted == ["begun 0", "tables", "stored 0", "begun 1", "tables", "stored 1"]
    assert study[1].read_run("relu", 1) is not None
