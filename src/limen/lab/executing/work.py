"""What an executor is given, and what it tells: all that the engines which compute runs have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from typing_extensions import Self

from limen.lab.records import EpochRow, RunRecord


@dataclass(frozen=True)
class Job:
    """A run that is to be computed."""

    activation: str
    seed: int
    needed: RunRecord | None = None
    """The run that it builds upon, as the optimised network does upon its search."""
    log: Path | None = None
    """Where what is said while it is computed is kept."""

    @property
    def key(self) -> tuple[str, int]:
        """What no other run of the study has."""
        return self.activation, self.seed


class Work(Protocol):
    """What trains any run of a study. It does not know which engine it is called by."""

    def run(self, job: Job, listener: Callable[[EpochRow], None]) -> RunRecord:
        """The finished or failed run; ``listener`` hears of each epoch."""


@dataclass(frozen=True)
class Started:
    """A run begins to be computed."""

    job: Job
    where: str
    """The process, and on Ray its machine; empty: this one."""


@dataclass(frozen=True)
class Passed:
    """A run has finished an epoch."""

    job: Job
    row: EpochRow


@dataclass(frozen=True)
class Said:
    """Something was printed where a run is computed, on a machine that cannot write its log."""

    job: Job
    text: str


@dataclass(frozen=True)
class Ended:
    """A run is finished, or failed in a way that it would again."""

    job: Job
    run: RunRecord


@dataclass(frozen=True)
class Died:
    """What computed a run is gone, and nothing of the run is left."""

    job: Job
    reason: str
    memory: bool = False
    """Whether the system ends a process so where memory is short, which it tells no one else."""


Event: TypeAlias = Started | Passed | Said | Ended | Died


class Executor(Protocol):
    """Computes jobs somewhere, several at a time; leaving its context ends whatever still runs."""

    @property
    def free(self) -> int:
        """How many more jobs can be computed beside those that are."""

    def submit(self, job: Job) -> None:
        """Have a job computed; only while something is free."""

    def wait(self, hear: Callable[[Event], None]) -> None:
        """Tell what happened to the submitted jobs; returns after a moment or an event.

        An error in a job that is no matter of its activation or seed is raised here, once all else was told.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
