"""Suggestions by Optuna, whose journal in the study's folder holds every trial: its own tools read it.

The trials' records are the truth. What the journal lacks of them is added to it, and where it is damaged or another's
it is made anew, so that a process that was killed while it wrote there costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
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
        self.path = path
        self.distributions = {name: FloatDistribution(low, high, log=True) for name, (low, high) in ranges.items()}
        self._studies: dict[str, optuna.Study] = {}
        # A lock of a process that was killed; the study's folder is this process's.
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        self._storage = self._opened()

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
        wanted = [self._trial(values, goodness) for values, goodness in history]
        study = self._study(activation)
        known = study.get_trials(deepcopy=False)
        if list(map(_told, known)) != list(map(_told, wanted[: len(known)])):
            self._begin_anew()
            study, known = self._study(activation), []
        for trial in wanted[len(known) :]:
            study.add_trial(trial)

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

    def _opened(self) -> JournalStorage:
        with suppress(OSError):
            whole = self.path.read_bytes()
            if whole and not whole.endswith(b"\n"):
                self.path.unlink()  # what is written next would be part of its last line
        try:
            return self._storage_there()
        except (ValueError, KeyError, TypeError, AttributeError):  # lines that are no journal
            self.path.unlink()
            return self._storage_there()

    def _storage_there(self) -> JournalStorage:
        path = str(self.path)
        return JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))

    def _begin_anew(self) -> None:
        """Every activation's trials are added when they are next asked about."""
        self.path.unlink(missing_ok=True)
        self._studies.clear()
        self._storage = self._storage_there()


def _told(trial: FrozenTrial) -> tuple[dict[str, float], TrialState, float | None]:
    return trial.params, trial.state, trial.value
