"""The tuning of each activation's rates, on validation data alone, before a study's runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limen.lab.declaration import Declaration
from limen.lab.executing.engine import engine
from limen.lab.executing.execution import Execution
from limen.lab.executing.work import Job
from limen.lab.rates import in_place_of, name_of, values_of
from limen.lab.records import EpochRow, RunRecord
from limen.lab.settings import StudySettings
from limen.lab.study.agenda import Pair
from limen.lab.study.listener import Listener
from limen.lab.study.running import Runs
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.trials import best, goodness, of_trial, rows, stored
from limen.lab.study.trying import SEED, History, Values, beside_best, budget, ranges, rounded, seeds_of

if TYPE_CHECKING:
    from limen.lab.study.suggesting import Journal
    from limen.lab.training.experiment import Experiment


def tuned(
    experiment: Experiment, study: Study, folder: StudyFolder, listener: Listener, execution: Execution
) -> tuple[Experiment, Study]:
    """Make the trials that are missing; experiment and study with each activation's own rates."""
    from limen.lab.study.suggesting import JOURNAL, Journal  # with Optuna, of which nothing else has need

    # Of the activations that were asked for now, with as many trials and seeds as ever were.
    most = {name: getattr(study.settings, name) for name in ("trials", "trial_seeds")}
    settings = experiment.settings.model_copy(update=most)
    honest = replace(experiment, settings=settings.model_copy(update={"protocol": "honest", "observe": ()}))
    agenda = _Trials(experiment.task, settings, study, folder, Journal(folder.path / JOURNAL, ranges(settings)))
    listener.found(study)
    missing = agenda.missing
    with engine(Trying(honest), execution, settings, at_most=missing) as (executor, said):
        listener.tuning(agenda.total, agenda.total - missing, [told_before(settings), *said])
        Runs(study, folder.trials, listener, executor, agenda, lambda pair: None, agenda).all()
    agenda.conclude()
    own = in_place_of(study.settings.own, agenda.own)
    study = agenda.study.model_copy(update={"settings": study.settings.model_copy(update={"own": own})})
    folder.write_study(study)
    return replace(experiment, settings=settings.model_copy(update={"own": own})), study


def told_before(settings: StudySettings) -> str:
    """What is tuned, how often, and where between."""
    spans = (f"{name.replace('_', ' ')} {low:g} to {high:g}" for name, (low, high) in ranges(settings).items())
    again = f", the best made again until it has {settings.trial_seeds} seeds" if settings.trial_seeds > 1 else ""
    return (
        f"tuning on validation data, {budget(settings)} trials of each activation{again}: {', '.join(spans)}; the "
        f"shared learning rate is {settings.learning_rate:g}"
    )


@dataclass(frozen=True)
class Trying:
    """What trains each trial."""

    experiment: Experiment

    def run(self, job: Job, listener: Callable[[EpochRow], None]) -> RunRecord:
        """One activation at the rates that its name says."""
        from limen.lab.training import run as training

        settings = self.experiment.settings.of(job.activation)
        return training.attempt(replace(self.experiment, settings=settings), job.activation, job.seed, listener)


class _Trials:
    """Which trial is next: those common to all, then each activation's own, one after the other of each.

    Before anything is suggested the best trial so far must have all of its seeds, so that suggestions follow a rate
    that more than one seed found good.
    """

    def __init__(
        self, task: Declaration, settings: StudySettings, study: Study, folder: StudyFolder, journal: Journal
    ) -> None:
        self.study, self._folder, self._journal = study, folder, journal
        self._criterion, self._budget, self._seeds = task.held_to, budget(settings), seeds_of(settings)
        tried = study.tried
        self._tried = {
            activation: [*(tried.get(activation) or (name_of(activation, values) for values in study.common_rates))]
            for activation in settings.activations
        }
        self._note()
        self._ended = stored(folder, self.study)
        self._given: set[Pair] = set()

    @property
    def total(self) -> int:
        """Runs of all trials, if the best of each activation stays so when it gets its other seeds."""
        names = {name for names in self._tried.values() for name in names}
        return sum(len(self._of(name)) for name in names) + self.missing

    @property
    def missing(self) -> int:
        """Those that are still to be made."""
        begun = sum((name, SEED) in self._ended for names in self._tried.values() for name in names)
        again = sum(len(self._seeds) - max(1, len(of)) for of in map(self._of, self.own) if not self._failed(of))
        return self._budget * len(self._tried) - begun + again

    @property
    def own(self) -> list[str]:
        """Of each activation the name of its best trial."""
        return [self._best(activation) for activation in self._tried]

    def next(self) -> Pair | None:
        """A trial that can be made now."""
        for activation in self._tried:
            self._suggest(activation)
        begun = self._given | self._ended.keys()
        ready = {activation: pair for activation in self._tried if (pair := self._next(activation, begun)) is not None}
        if not ready:
            return None
        names = {activation: {*self._tried[activation]} for activation in ready}
        pair = ready[min(ready, key=lambda activation: sum(name in names[activation] for name, _ in begun))]
        self._given.add(pair)
        return pair

    def ended(self, run: RunRecord) -> None:
        """A trial is stored."""

    def add(self, run: RunRecord) -> None:
        """A trial is stored: it has its row, and the next of its activation can be suggested."""
        self._ended[run.activation, run.seed] = run
        self._folder.write_trials(rows(self.study, self._ended))

    def refresh(self) -> None:
        """Each has its row already."""

    def conclude(self) -> None:
        """Have Optuna's journal hold all of them."""
        for activation in self._tried:
            self._journal.keep(activation, self._history(activation))

    def _next(self, activation: str, begun: Set[Pair]) -> Pair | None:
        """A trial of an activation that has not begun, or the best with another seed."""
        first = ((name, SEED) for name in self._tried[activation])
        return next((pair for pair in (*first, self._again(activation)) if pair and pair not in begun), None)

    def _again(self, activation: str) -> Pair | None:
        """The best trial with its next seed; None where it has all, it failed, or one is still to be made at all."""
        if not self._are_made(self._tried[activation]):
            return None
        name = self._best(activation)
        if self._failed(self._of(name)):
            return None
        return next(((name, seed) for seed in self._seeds if (name, seed) not in self._ended), None)

    def _are_made(self, names: Sequence[str]) -> bool:
        return all((name, SEED) in self._ended for name in names)

    def _best(self, activation: str) -> str:
        return best(self._tried[activation], self._ended, self._seeds, self._criterion)

    def _failed(self, runs: Sequence[RunRecord]) -> bool:
        return bool(runs) and goodness(runs, self._criterion) is None

    def _of(self, name: str) -> list[RunRecord]:
        return of_trial(name, self._ended, self._seeds)

    def _suggest(self, activation: str) -> None:
        """What is tried next of an activation of which all trials have ended, as far as that is new."""
        names = self._tried[activation]
        while len(names) < self._budget and self._are_made(names) and self._again(activation) is None:
            names.append(name_of(activation, self._next_of(activation, self._history(activation))))
            self._note()

    def _next_of(self, activation: str, history: History) -> Values:
        """What is tried next after these trials of an activation."""
        rate = beside_best(history) if self.study.settings.tune == ("lr",) else None
        if rate is not None:
            return {"learning_rate": rate}
        values = self._journal.suggest(activation, history, len(history))
        return {setting: rounded(value) for setting, value in values.items()}

    def _note(self) -> None:
        """Keep what is tried before it is."""
        tried = {**self.study.tried, **{activation: tuple(names) for activation, names in self._tried.items()}}
        self.study = self.study.model_copy(update={"tried": tried})
        self._folder.write_study(self.study)

    def _history(self, activation: str) -> History:
        return [(values_of(name), goodness(self._of(name), self._criterion)) for name in self._tried[activation]]
