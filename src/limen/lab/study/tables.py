"""``runs.csv`` and ``summary.csv`` of a study while its runs end.

A run's own file is the truth, and the tables are made of all of them. Made anew after every run they would cost ever
more: of 4,000 runs 2.5 s each time. So they are written again when that is a small part of the time since, which in a
small study is after every run, and at the end in any case, an interruption's too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from limen.lab.declaration import Declaration
from limen.lab.records import RunRecord
from limen.lab.report.condensing import bare
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.summary import summarise

SHARE = 20
"""The tables take at most one part in so many of the time."""


class Tables:
    """Keeps what the tables need of every run, and writes them in time; a context that writes them at its end."""

    def __init__(self, task: Declaration, study: Study, folder: StudyFolder, runs: Iterable[RunRecord]) -> None:
        self._task, self._study, self._folder = task, study, folder
        self._runs = {(run.activation, run.seed): bare(run) for run in runs}
        self._due, self._stale, self._written = 0.0, False, False

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stale:
            self.write()

    def add(self, run: RunRecord) -> None:
        """A run has ended and is stored."""
        self._runs[run.activation, run.seed] = bare(run)
        self._stale = True

    def refresh(self) -> None:
        """Write them where there is something new and it is time."""
        if self._stale and time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Make them of all runs so far."""
        began, settings = time.monotonic(), self._study.settings
        pairs = ((activation, seed) for activation in settings.compared for seed in settings.seeds)
        runs = tuple(self._runs[pair] for pair in pairs if pair in self._runs)
        self._folder.write_tables(runs, summarise(self._task, settings, runs, self._folder.read_costs()))
        self._stale, ended = False, time.monotonic()
        # The first time SciPy is imported, which says nothing of the next.
        self._due = ended + SHARE * (ended - began) if self._written else ended
        self._written = True
