"""The runs of a study that are still to do, several at a time; each is stored here, by one process, when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from limen.errors import StudyError
from limen.lab.executing.engine import engine
from limen.lab.executing.execution import Execution
from limen.lab.executing.work import Died, Ended, Event, Executor, Job, Passed, Started, Work
from limen.lab.records import CostRow, Origin, RunRecord, failed_run
from limen.lab.report.condensing import bare
from limen.lab.study.agenda import Agenda, InOrder, Pair
from limen.lab.study.deciding import Deciding, wanted
from limen.lab.study.listener import Listener
from limen.lab.study.logs import note
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.tables import Tables
from limen.lab.training.experiment import Experiment
from limen.memory import is_out_of_memory

ATTEMPTS = 3
"""How often a run is begun whose process ends without it: the last time beside no other, which may need the memory."""
SHORT = (
    "the system ends a process so where memory is short: another study with a smaller --batch-size or --network may "
    "have enough, or a machine with more"
)
CRASHED = "its log holds what it printed"
FIXED = {"max_seeds": None}
"""As if every seed were wanted."""
Needs = Callable[[Pair], Pair | None]
"""The run that one builds upon."""


class Kept(Protocol):
    """Tables of the runs that have ended."""

    def add(self, run: RunRecord) -> None:
        """A run has ended and is stored."""

    def refresh(self) -> None:
        """There is time to write them."""


def train_missing(
    experiment: Experiment,
    study: Study,
    folder: StudyFolder,
    listener: Listener,
    notes: Sequence[str],
    work: Work,
    execution: Execution,
    needs: Needs = lambda pair: None,
) -> None:
    """Train every run that the folder does not have; each is stored when it ends."""
    settings = experiment.settings
    # All of them: what cannot be used is said before anything is trained.
    stored = folder.read_runs(study.settings, bare)
    missing = wanted(experiment.task, settings.model_copy(update=FIXED), stored)
    total = len(settings.compared) * len(settings.seeds)
    agenda: Agenda = (
        InOrder(missing, needs) if settings.max_seeds is None else Deciding(experiment.task, settings, [*stored], needs)
    )
    listener.found(study)
    with (
        engine(work, execution, settings, at_most=len(missing)) as (executor, said),
        Tables(experiment.task, study, folder, stored) as tables,
    ):
        listener.planned(total, total - len(missing), [*notes, *said])
        Runs(study, folder, listener, executor, agenda, needs, tables).all()


def keep_costs(folder: StudyFolder, measure: Callable[[], Iterable[CostRow]], origin: Origin) -> None:
    """Measure and store; where there is no memory for it the runs are shown without their cost."""
    try:
        measured = tuple(measure())
        folder.require_study()
        folder.write_costs(measured, origin)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise


@dataclass
class Runs:
    """What an executor computes of an agenda, and what becomes of it."""

    study: Study
    folder: StudyFolder
    listener: Listener
    executor: Executor
    agenda: Agenda
    needs: Needs
    tables: Kept
    running: set[Pair] = field(default_factory=set)
    again: list[Job] = field(default_factory=list)
    attempts: Counter[Pair] = field(default_factory=Counter)

    def all(self) -> None:
        """Compute what is on the agenda, until there is nothing more and nothing runs."""
        while True:
            while self.executor.free and (job := self._next()):
                self.running.add(job.key)
                self.attempts[job.key] += 1
                self.executor.submit(job)
            if not self.running:
                return
            self.tables.refresh()  # beside the runs that have just begun
            self.executor.wait(self._hear)
            self.listener.waiting()

    def _next(self) -> Job | None:
        """Another job, one that was lost before all others; None where none may begin now."""
        last = next((job for job in self.again if self.attempts[job.key] == ATTEMPTS - 1), None)
        alone = any(self.attempts[pair] == ATTEMPTS for pair in self.running)
        if alone or (last is not None and self.running):
            return None
        if self.again:
            return self.again.pop(self.again.index(last or self.again[0]))
        pair = self.agenda.next()
        return None if pair is None else self._job(pair)

    def _job(self, pair: Pair) -> Job:
        needed = self.needs(pair)
        return Job(*pair, None if needed is None else self.folder.read_run(*needed), self.folder.log_path(*pair))

    def _hear(self, event: Event) -> None:
        job = event.job
        note(self.folder.log_path(*job.key), event)
        if isinstance(event, Started):
            self.listener.run_started(*job.key, *([event.where] if event.where else []))
        elif isinstance(event, Passed):
            self.listener.epoch(*job.key, event.row)
        elif isinstance(event, Ended):
            self._ended(event.run)
        elif isinstance(event, Died):
            self._lost(event)

    def _lost(self, event: Died) -> None:
        job = event.job
        if self.attempts[job.key] == ATTEMPTS:
            often = f"its process ended {event.reason}, the last of {ATTEMPTS} times beside no other"
            self._ended(failed_run(*job.key, f"{often}; {SHORT if event.memory else CRASHED}."))
            return
        self.running.discard(job.key)
        self.again.append(job)
        self.listener.run_lost(*job.key, event.reason)

    def _ended(self, run: RunRecord) -> None:
        run = run.model_copy(update={"origin": self.study.origin})
        try:
            self.folder.require_study()
        except StudyError:
            self.folder.write_study(self.study)
            self.folder.write_run(run)
            raise
        self.folder.write_run(run)
        self.tables.add(run)
        self.running.discard((run.activation, run.seed))
        self.agenda.ended(run)
        self.listener.run_ended(run)
