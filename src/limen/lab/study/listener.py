"""Who hears how a study goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from limen.lab.records import EpochRow, RunRecord
from limen.lab.study.study import Study


class Listener(Protocol):
    """What a study tells whoever shows its progress."""

    def found(self, study: Study) -> None:
        """What there is to learn from, before anything is trained."""

    def tuning(self, total: int, done: int, notes: Sequence[str]) -> None:
        """So many trials in all before the runs, so many already stored."""

    def planned(self, total: int, done: int, notes: Sequence[str]) -> None:
        """So many runs in all, so many already stored; notes a reader should see."""

    def run_started(self, activation: str, seed: int, where: str = "") -> None:
        """A run begins, in this process unless it is said where."""

    def epoch(self, activation: str, seed: int, row: EpochRow) -> None:
        """A run has finished an epoch."""

    def run_lost(self, activation: str, seed: int, why: str) -> None:
        """What computed a run is gone, and the run begins anew."""

    def run_ended(self, run: RunRecord) -> None:
        """A run is stored."""

    def waiting(self) -> None:
        """Nothing has happened for a moment."""

    def timing(self, done: int, total: int) -> None:
        """The cost is being measured, round by round."""
