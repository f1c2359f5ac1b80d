"""Suggestions by Optuna, whose journal in the study's folder holds every trial: its own tools read it.

The trials' records are the truth. The journal is made anew of them whenever a study goes on, so that what a process
that was killed left there costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from limen.lab.study.trying import History, Values

JOURNAL = "optuna.journal"
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Journal:
    """What Optuna knows of a study's tuning: an Optuna study for each activation."""

    def __init__(self, path: Path, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.distributions = {name: FloatDistribution(low, high, log=True) for name, (low, high) in ranges.items()}
        self._studies: dict[str, optuna.Study] = {}
        # The folder is this process's, so a lock was left by one that was killed.
        for left in (path, path.with_name(f"{path.name}.lock")):
            left.unlink(missing_ok=True)
        self._storage = JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))

    def suggest(self, activation: str, history: History, number: int) -> Values:
        """What TPE makes of an activation's trials so far; the number is its seed."""
        self.keep(activation, history)
        # Of its own, so that what is asked for is not in the journal before it has an answer.
        asked = optuna.create_study(direction="maximize", sampler=TPESampler(seed=number, n_startup_trials=0))
        asked.add_trials(self._studies[activation].get_trials(deepcopy=False))
        found: Values = asked.ask(dict(self.distributions)).params
        return found

    def keep(self, activation: str, history: History) -> None:
        """Have the journal hold these trials."""
        known = self._study(activation).get_trials(deepcopy=False)
        if any(trial.value != goodness for trial, (_, goodness) in zip(known, history, strict=False)):
            # Another seed has changed a trial's mean, and a journal can only be added to.
            optuna.delete_study(study_name=activation, storage=self._storage)
            del self._studies[activation]
            known = []
        for values, goodness in history[len(known) :]:
            self._study(activation).add_trial(self._trial(values, goodness))

    def _trial(self, values: Values, goodness: float | None) -> FrozenTrial:
        """A failed one has no value, which makes it worse than any that has."""
        params = {
            name: min(max(values.get(name, values["learning_rate"]), within.low), within.high)
            for name, within in self.distributions.items()
        }
        state = TrialState.PRUNED if goodness is None else TrialState.COMPLETE
        return create_trial(state=state, value=goodness, params=params, distributions=dict(self.distributions))

    def _study(self, activation: str) -> optuna.Study:
        if activation not in self._studies:
            self._studies[activation] = optuna.create_study(
                storage=self._storage, study_name=activation, direction="maximize", load_if_exists=True
            )
        return self._studies[activation]
