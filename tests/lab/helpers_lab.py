"""What the lab's tests share: a tiny study on digits, a listener that remembers, the commands in this process."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import FORKS
from markupsafe import Markup

from limen import cli
from limen.lab.data import Data, Samples
from limen.lab.records import EpochRow, RunRecord
from limen.lab.report.figures import accuracy, curves, differences, sensitivity, shapes, trajectories
from limen.lab.report.figures import cost as cost_bars
from limen.lab.report.figures.examples import section
from limen.lab.settings import StudySettings
from limen.lab.study.preparing import prepare
from limen.lab.study.study import Study
from limen.lab.tasks import registry
from limen.lab.training.experiment import Experiment

TINY = {
    "data": "digits",
    "network": "mlp",
    "activations": ("relu", "asau"),
    "baseline": "relu",
    "seeds": (0, 1),
    "epochs": 2,
    "limit_train": 200,
    "limit_test": 60,
}
TINY_OPTIONS = ("--data", "digits", "--network", "mlp", "--limit-train", "200", "--limit-test", "60")

torch.set_num_threads(1)  # the workers of pytest-xdist share the cores

STEPS_AN_EPOCH = 3
"""180 of the 200 training images remain, in batches of 64."""


def tiny(**changed: Any) -> StudySettings:
    """Settings of a study that trains for a fraction of a second a run."""
    return StudySettings(**{**TINY, **changed})


@contextmanager
def briefly() -> Iterator[None]:
    """Studies whose pages have no drawings."""
    with pytest.MonkeyPatch.context() as patch:
        for painter in (accuracy, cost_bars, curves, differences, section, sensitivity, shapes, trajectories):
            patch.setattr(painter, "draw", lambda *arguments: Markup("<svg/>"))
        yield


@functools.cache
def data_of(settings: StudySettings) -> Any:
    """The divided data of these settings."""
    return prepare(registry.find(settings.task), settings).data


def experiment_of(settings: StudySettings, data: Data[Any] | None = None) -> Experiment:
    """What the runs of these settings share."""
    return Experiment(registry.find(settings.task), data_of(settings) if data is None else data, settings)


def parts_of(data: Data[Any]) -> dict[str, Samples]:
    """The splits that there are, by name."""
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    return {name: split for name, split in splits.items() if split is not None}


def described(data: Data[Any]) -> tuple[str, tuple[str, ...], dict[str, Samples], tuple[str, ...]]:
    """Name, classes, splits and notes."""
    return data.name, data.classes, parts_of(data), data.notes


@dataclass
class Recorder:
    """A listener that remembers all it is told."""

    studies: list[Study] = field(default_factory=list)
    plans: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)
    started: list[tuple[str, int]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    epochs: list[EpochRow] = field(default_factory=list)
    lost: list[tuple[str, int, str]] = field(default_factory=list)
    ended: list[RunRecord] = field(default_factory=list)
    timings: list[tuple[int, int]] = field(default_factory=list)
    tunings: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)

    def found(self, study: Study) -> None:
        self.studies.append(study)

    def tuning(self, total: int, done: int, notes: Sequence[str]) -> None:
        self.tunings.append((total, done, tuple(notes)))

    def planned(self, total: int, done: int, notes: Sequence[str]) -> None:
        self.plans.append((total, done, tuple(notes)))

    def run_started(self, activation: str, seed: int, where: str = "") -> None:
        self.started.append((activation, seed))
        self.places.append(where)

    def epoch(self, activation: str, seed: int, row: EpochRow) -> None:
        self.epochs.append(row)

    def run_lost(self, activation: str, seed: int, why: str) -> None:
        self.lost.append((activation, seed, why))

    def waiting(self) -> None:
        pass

    def run_ended(self, run: RunRecord) -> None:
        self.ended.append(run)

    def timing(self, done: int, total: int) -> None:
        self.timings.append((done, total))


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of standard error; anything more or less fails the test."""
        assert "Traceback" not in self.err, self.err
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("limen: ")
        assert lines[0].endswith((".", "?", ")"))
        return lines[0]

    @property
    def json(self) -> Any:
        """Standard output as strict JSON: NaN and infinity are refused."""
        return json.loads(self.out, parse_constant=_refused)


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


Command = Callable[..., Outcome]


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process, as ``limen ARGUMENTS`` runs it."""

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["limen", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), captured.out, captured.err)

    return run


@dataclass
class Forked:
    """A command in a process of its own, which need not import the lab: it is a fork of one that has."""

    process: ForkServerProcess
    folder: Path

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.is_alive()

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self.process.kill()
        self.process.join()

    def wait(self, seconds: float = 120) -> Outcome:
        """What it came to."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, self.said()
        return Outcome(self.process.exitcode, *self.said())

    def said(self) -> tuple[str, str]:
        """Standard output and standard error so far."""
        return (self.folder / "out").read_text(), (self.folder / "err").read_text()


def forked_command(folder: Path, *arguments: str | Path, where: Path | None = None) -> Forked:
    """Start the command line in a process of its own, which writes what it says to files in ``folder``."""
    folder.mkdir(exist_ok=True)
    process = FORKS.Process(target=_command_in_process, args=(folder, [str(argument) for argument in arguments], where))
    process.start()
    return Forked(process, folder)


def _command_in_process(folder: Path, arguments: list[str], where: Path | None) -> None:
    # Whoever runs the tests in the background may have told them to ignore interrupts, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if where is not None:
        os.chdir(where)
    sys.argv = ["limen", *arguments]
    cli.main()


def stored(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file under a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
