"""Who hears how a study goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from limen.lab.records import EpochRow, RunRecord
from limen.lab.study.store import Study


class Listener(Protocol):
    """What a study tells whoever shows its progress."""

    def found(self, study: Study) -> None:
        """What there is to learn from, before anything is trained."""

    def planned(self, total: int, done: int, notes: Sequence[str]) -> None:
        """So many runs in all, so many already stored; notes a reader should see."""

    def run_started(self, activation: str, seed: int) -> None:
        """A run begins."""

    def epoch(self, row: EpochRow) -> None:
        """The current run has finished an epoch."""

    def run_ended(self, run: RunRecord) -> None:
        """The current run is stored."""

    def timing(self, done: int, total: int) -> None:
        """The cost is being measured, round by round."""
