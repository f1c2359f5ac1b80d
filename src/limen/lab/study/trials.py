"""What the trials of a tuning came to, and the best of each activation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from limen.lab.metric import LOSS, Metric
from limen.lab.records import RunRecord, TrialRow
from limen.lab.study.store import Study, StudyFolder
from limen.lab.study.trying import SEED, common
from limen.lab.tasks import declared


def goodness(trial: RunRecord, metric: Metric) -> float | None:
    """How good a trial was, more being better; None of a failed one."""
    value = trial.metrics.get(metric.on_heldout, math.nan)
    return metric.goodness(value) if math.isfinite(value) else None


def best(names: Sequence[str], ended: Mapping[str, RunRecord], metric: Metric) -> str:
    """The name of the best trial; of equals that with the lower loss, then the earlier; the first where all failed."""
    known = [(name, goodness(ended[name], metric)) for name in dict.fromkeys(names)]
    good = [(name, value) for name, value in known if value is not None]
    if not good:
        return names[0]
    return max(good, key=lambda one: (one[1], -ended[one[0]].metrics[LOSS.on_heldout]))[0]


def rows(study: Study, ended: Mapping[str, RunRecord]) -> tuple[TrialRow, ...]:
    """A row a trial that has ended, by activation and then in order."""
    settings, metric = study.settings, declared.find(study.settings.task).held_to
    shared = len(common(settings)) if settings.tune else 0
    return tuple(
        _row(study, activation, number, ended[name], metric, number <= shared)
        for activation, names in study.tried.items()
        for number, name in enumerate(names, 1)
        if name in ended
    )


def read(folder: StudyFolder, study: Study) -> tuple[TrialRow, ...]:
    """The same, of what is stored."""
    trials = folder.trials
    runs = (trials.read_run(name, SEED) for names in study.tried.values() for name in names)
    return rows(study, {run.activation: run for run in runs if run is not None})


def _row(study: Study, activation: str, number: int, run: RunRecord, metric: Metric, common: bool) -> TrialRow:
    settings = study.settings.of(run.activation)
    good = goodness(run, metric)
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
