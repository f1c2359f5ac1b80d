"""What a tuning found: each activation's own rates, and both answers, at the shared rates and at its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limen.lab.metric import Metric
from limen.lab.numerals import MISSING
from limen.lab.rates import activation_of, values_of
from limen.lab.records import RunRecord, SummaryRow, TrialRow
from limen.lab.report.contents import Contents
from limen.lab.report.figures.sensitivity import sensitivity
from limen.lab.report.figures.svg import Picture
from limen.lab.report.tried import Tried, tried
from limen.lab.report.wording import counted, listed
from limen.lab.settings import StudySettings
from limen.lab.statistics import Interval


@dataclass(frozen=True)
class Answer:
    """Both answers about one activation."""

    activation: str
    rates: str
    """Its own."""
    validation: tuple[str, str]
    """The score of the trial at the shared rates, and of its best."""
    shared: SummaryRow
    own: SummaryRow
    change: Interval
    """Of the test score from the shared rates to its own, paired by seed."""


@dataclass(frozen=True)
class TrialTable:
    """Scores of the trials that all activations have, a column a learning rate; then the others.

    A trial with several seeds has their mean and number.
    """

    rates: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], str], ...]


@dataclass(frozen=True)
class Tuning:
    """What the page says of a tuning."""

    budget: str
    warnings: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    """Activation, its own rates, validation and test scores at the shared rates and at its own, verdicts, change."""
    table: TrialTable
    picture: Picture | None


def tuning(study: Contents) -> Tuning | None:
    """What was found; None where nothing was tuned."""
    if not study.trials:
        return None
    metric = study.task.held_to
    return Tuning(
        budget=budget(study.settings, study.trials, metric),
        warnings=tuple(warnings(study.settings, study.trials)),
        answers=tuple(_cells(answer, study.metric) for answer in answers(study)),
        table=_table(study, metric),
        picture=sensitivity(study, metric),
    )


def budget(settings: StudySettings, trials: Sequence[TrialRow], metric: Metric) -> str:
    """What each activation was given, and what it took."""
    of = {name: [row for row in trials if row.activation == name] for name in {row.activation: 0 for row in trials}}
    common = max((row.trial for row in trials if row.common), default=0)
    number = _trials_of_each(settings, trials)
    seconds = sorted((sum(row.seconds for row in rows), name) for name, rows in of.items())
    rates = [row.learning_rate for row in trials]
    (least, first), (most, last) = seconds[0], seconds[-1]
    took = f"{least:.0f} s ({first})" + (f" to {most:.0f} s ({last})" if len(of) > 1 else "")
    return (
        f"Every activation was given the same budget: {counted(number, 'trial')} of "
        f"{counted(settings.epochs, 'epoch')} with seed {trials[0].seed}, which no run has, at learning rates from "
        f"{min(rates):g} to {max(rates):g}, for the best validation {metric.title}; no test example had a part in it. "
        f"The first {common} are common to all, the rest follow from the activation’s own. "
        f"{_seeds(settings.trial_seeds, trials)} They took {took}."
    )


def _trials_of_each(settings: StudySettings, trials: Sequence[TrialRow]) -> int:
    """As many as were asked for, or of so many by default those there are."""
    return settings.trials or max(row.trial for row in trials)


def _seeds(number: int, trials: Sequence[TrialRow]) -> str:
    """How far chance was kept from choosing."""
    if number == 1:
        return "A trial is one seed, so chance had a part in what was chosen; --trial-seeds 3 tries the best again."
    again = sum(row.seed != trials[0].seed for row in trials)
    return (
        f"The best by the mean of its seeds is made again with the next one, until the best has all {number}: "
        f"{counted(again, 'run')} more."
    )


def warnings(settings: StudySettings, trials: Sequence[TrialRow]) -> Iterator[str]:
    """What must be known before the own rates are believed."""
    every = tried(trials)
    failed = [trial for trial in every if trial.failed]
    if failed:
        each = [f"{trial.activation} at {trial.learning_rate:g}" for trial in failed]
        yield (
            f"{counted(len(failed), 'trial')} failed and counted as worse than any other: {listed(each)}; the first: "
            f"{failed[0].failure}"
        )
    of_all = [trial.learning_rate for trial in every if trial.common]
    for trial in every:
        if trial.chosen and len(of_all) > 1 and trial.learning_rate in (min(of_all), max(of_all)):
            end = "lowest" if trial.learning_rate == min(of_all) else "highest"
            yield (
                f"The own rate of {trial.activation} is the {end} that was tried, so a better one may lie beyond; give "
                f"another --lr than {settings.learning_rate:g} to look there."
            )
    if missing := [name for name in settings.activations if name not in map(activation_of, settings.own)]:
        yield f"The tuning of {listed(missing)} has not ended, so there are no runs at own rates yet."
    of = {name: [trial for trial in every if trial.activation == name] for name in settings.activations}
    number = _trials_of_each(settings, trials)
    open_ = [name for name in of if name not in missing and _is_open(of[name], number, settings.trial_seeds)]
    if open_:
        yield f"The tuning of {listed(open_)} got more trials or seeds and has not ended, so own rates may change."


def _is_open(trials: Sequence[Tried], number: int, seeds: int) -> bool:
    """Whether trials are still to be made, or the chosen one has not all of its seeds."""
    return len(trials) < number or any(
        trial.chosen and not trial.failed and len(trial.scores) < seeds for trial in trials
    )


def answers(study: Contents) -> list[Answer]:
    """Both answers about every activation that has its own rates."""
    rows = {row.activation: row for row in study.summary}
    trials, found = tried(study.trials), []
    for own in study.settings.own:
        activation = activation_of(own)
        if own not in rows or activation not in rows:
            continue
        mine = [trial for trial in trials if trial.activation == activation]
        metric = study.task.held_to
        found.append(
            Answer(
                activation=activation,
                rates=_rates(own),
                validation=(
                    metric.value(mine[0].score),
                    metric.value(next((trial.score for trial in mine if trial.chosen), math.nan)),
                ),
                shared=rows[activation],
                own=rows[own],
                change=study.metric.difference_interval(_changes(study, activation, own)),
            )
        )
    return found


def _changes(study: Contents, activation: str, own: str) -> list[float]:
    before, after = (_by_seed(study.finished(name), study.metric) for name in (activation, own))
    return [after[seed] - before[seed] for seed in sorted(before.keys() & after.keys())]


def _by_seed(runs: Sequence[RunRecord], metric: Metric) -> dict[int, float]:
    return {run.seed: run.metrics[metric.on_test] for run in runs}


def _rates(own: str) -> str:
    """Rates as they are read.

    >>> _rates("relu @ lr=0.01,weight-decay=0.001")
    '0.01, weight decay 0.001'
    """
    values = values_of(own)
    others = (f"{name.replace('_', ' ')} {value:g}" for name, value in values.items() if name != "learning_rate")
    return ", ".join([f"{values['learning_rate']:g}", *others])


def _cells(answer: Answer, metric: Metric) -> tuple[str, ...]:
    sides = []
    for row in (answer.shared, answer.own):
        sides += [metric.mean(Interval(row.mean, row.low, row.high)), row.verdict]
    change = metric.mean_difference(answer.change, beside=answer.shared.mean)
    return (answer.activation, answer.rates, *answer.validation, *sides, change)


def _table(study: Contents, metric: Metric) -> TrialTable:
    trials, rows = tried(study.trials), []
    rates = sorted({trial.learning_rate for trial in trials if trial.common})
    for name in study.settings.activations:
        mine = [trial for trial in trials if trial.activation == name]
        common = {trial.learning_rate: _score(trial, metric) for trial in mine if trial.common}
        others = ", ".join(f"{trial.learning_rate:g}: {_score(trial, metric)}" for trial in mine if not trial.common)
        if mine:
            rows.append((name, tuple(common.get(rate, MISSING) for rate in rates), others or MISSING))
    return TrialTable(tuple(f"{rate:g}" for rate in rates), tuple(rows))


def _score(trial: Tried, metric: Metric) -> str:
    seeds = len(trial.scores)
    value = "failed" if trial.failed else metric.value(trial.score)
    return f"{value} ({counted(seeds, 'seed')})" if seeds > 1 else value
