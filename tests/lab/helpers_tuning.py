"""A world that needs no training, in which tunings are tried: what each rate of each activation is worth."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers_lab import Recorder, tiny

from limen.lab.executing.execution import ONE, Execution
from limen.lab.rates import activation_of, values_of
from limen.lab.records import RunRecord
from limen.lab.settings import StudySettings
from limen.lab.study import result
from limen.lab.study.compare import compare
from limen.lab.study.trying import SEED

BEST = {"relu": 1e-3, "asau": 9e-3, "ash": 4e-3}
"""Where each activation is best in a world that needs no training; the shared rate is relu's."""
NAN = "the loss became nan in epoch 1, step 2."


def accuracy(name: str, seed: int) -> float:
    """In that world, on validation or test data."""
    rate = values_of(name).get("learning_rate", 1e-3)
    noise = random.Random(f"{activation_of(name)} {seed}").uniform(-0.01, 0.01)
    return 0.9 / (1 + 0.1 * math.log10(rate / BEST[activation_of(name)]) ** 2) + noise


def ended(name: str, seed: int, **metrics: float) -> RunRecord:
    failed = not metrics
    return RunRecord(
        activation=name, seed=seed, status="failed" if failed else "finished", failure=NAN if failed else "",
        epochs=0 if failed else 1, best_epoch=0 if failed else 1, metrics=metrics, seconds=2.0, ms_per_step=1,
        peak_memory_mb=1, parameters=10, activation_parameters=0,
    )  # fmt: skip


class World:
    """Stands for training: what was trained, and what happens instead."""

    def __init__(self) -> None:
        self.trials: list[str] = []
        self.seeds: list[tuple[str, int]] = []
        """Of the trials."""
        self.lucky: dict[str, float] = {}
        """By how much a trial's first seed does better than any other."""
        self.runs: list[tuple[str, int]] = []
        self.stops_after: int | None = None
        """Trials, before the next of which somebody presses Ctrl-C."""
        self.fails: Callable[[str], bool] = lambda name: False
        self.fails_later: Callable[[str], bool] = lambda name: False
        """With any seed but the first."""
        self.breaks_down: Callable[[str, int], bool] = lambda name, seed: False
        """A run, which ends all the same."""

    def attempt(self, experiment: Any, name: str, seed: int, listener: Any) -> RunRecord:
        """A trial."""
        if len(self.trials) == self.stops_after:
            raise KeyboardInterrupt
        self.trials.append(name)
        self.seeds.append((name, seed))
        assert experiment.settings.learning_rate == values_of(name)["learning_rate"]
        if self.fails(name) or (seed > SEED and self.fails_later(name)):
            return ended(name, seed)
        score = self.score(name, seed)
        return ended(name, seed, val_accuracy=score, val_loss=1 - score)

    def score(self, name: str, seed: int) -> float:
        """Of a trial."""
        return accuracy(name, seed) + (self.lucky.get(name, 0.0) if seed == SEED else 0.0)

    def run(self, experiment: Any, name: str, seed: int, listener: Any, **_: Any) -> RunRecord:
        """A run."""
        self.runs.append((name, seed))
        assert experiment.settings.learning_rate == values_of(name).get("learning_rate", 1e-3)
        score = 0.1 if self.breaks_down(name, seed) else accuracy(name, seed)
        return ended(name, seed, test_accuracy=score, val_accuracy=0.5, val_loss=1.0)


def tuned(trials: int = 6, **changed: Any) -> StudySettings:
    given = {"tune": ("lr",), "trials": trials, "activations": ("relu", "asau", "ash"), "epochs": 1, **changed}
    return tiny(**given)


def made(settings: StudySettings, out: Path, execution: Execution = ONE) -> result.Result:
    return compare(settings, out, Recorder(), execution=execution)


def table(out: Path, name: str = "trials.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def told_of(settings: StudySettings, out: Path) -> list[tuple[int, int, tuple[str, ...]]]:
    heard = Recorder()
    compare(settings, out, heard)
    return heard.tunings
