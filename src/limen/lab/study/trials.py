"""What the trials of a tuning came to, and the best of each activation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from limen.lab.metric import LOSS, Metric
from limen.lab.records import RunRecord, TrialRow
from limen.lab.study.agenda import Pair
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.trying import seeds_of
from limen.lab.tasks import declared

Ended = Mapping[Pair, RunRecord]
"""The runs of trials by the trial's name and their seed."""


def goodness(trial: Sequence[RunRecord], metric: Metric) -> float | None:
    """How good a trial was, the more the better: the mean over its seeds; None of one that failed with any of them."""
    values = [run.metrics.get(metric.on_heldout, math.nan) for run in trial]
    return metric.goodness(fmean(values)) if values and all(map(math.isfinite, values)) else None


def of_trial(name: str, ended: Ended, seeds: Sequence[int]) -> list[RunRecord]:
    """The runs of a trial."""
    return [ended[name, seed] for seed in seeds if (name, seed) in ended]


def best(names: Sequence[str], ended: Ended, seeds: Sequence[int], metric: Metric) -> str:
    """The name of the best trial; of equals that with the lower loss, then the earlier; the first where all failed."""
    runs = {name: of_trial(name, ended, seeds) for name in names}
    good = {name: value for name, of in runs.items() if (value := goodness(of, metric)) is not None}
    if not good:
        return names[0]
    return max(good, key=lambda name: (good[name], -fmean(run.metrics[LOSS.on_heldout] for run in runs[name])))


def rows(study: Study, ended: Ended) -> tuple[TrialRow, ...]:
    """A row for each seed of a trial that has ended, by activation and then in order."""
    settings, metric = study.settings, declared.find(study.settings.task).held_to
    shared = study.common_trials if settings.tune else 0
    return tuple(
        _row(study, activation, number, run, metric, number <= shared)
        for activation, names in study.tried.items()
        for number, name in enumerate(names, 1)
        for run in of_trial(name, ended, seeds_of(settings))
    )


def read(folder: StudyFolder, study: Study) -> tuple[TrialRow, ...]:
    """The same, of what is stored."""
    return rows(study, stored(folder, study))


def stored(folder: StudyFolder, study: Study) -> dict[Pair, RunRecord]:
    """The runs of trials that have ended."""
    pairs = [(name, seed) for names in study.tried.values() for name in names for seed in seeds_of(study.settings)]
    runs = ((pair, folder.trials.read_run(*pair)) for pair in pairs)
    return {pair: run for pair, run in runs if run is not None}


def _row(study: Study, activation: str, number: int, run: RunRecord, metric: Metric, common: bool) -> TrialRow:
    settings = study.settings.of(run.activation)
    good = goodness([run], metric)
    return TrialRow(
        activation=activation,
        trial=number,
        common=common,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        activation_lr=settings.learning_rate if settings.activation_lr is None else settings.activation_lr,
        seed=run.seed,
        epochs=run.epochs,
        best_epoch=run.best_epoch,
        metric=metric.on_heldout,
        score=math.nan if good is None else run.metrics[metric.on_heldout],
        loss=run.metrics.get(LOSS.on_heldout, math.nan),
        chosen=run.activation in study.settings.own,
        status=run.status,
        failure=run.failure,
        seconds=run.seconds,
    )
