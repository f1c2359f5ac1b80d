"""The summary of a study's runs: a row an activation, and one for what needs no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from limen.lab.declaration import Declaration
from limen.lab.metric import Metric
from limen.lab.rates import activation_of
from limen.lab.records import CostRow, RunRecord, SummaryRow
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.statistics import (
    Comparison,
    Course,
    Interval,
    Training,
    always_interval,
    beside,
    correct,
    decide,
    decide_sequentially,
    interval,
    training,
)
from limen.lab.statistics.reaching import Paired, scaled

REFERENCE = "reference"
"""The verdict of a row that is no activation."""


def summarise(
    task: Declaration, settings: StudySettings, runs: Sequence[RunRecord], costs: Sequence[CostRow]
) -> tuple[SummaryRow, ...]:
    """One row an activation: mean and interval, paired difference to the baseline, corrected p, verdict, cost."""
    measure = task.measure
    of_activation = _by_activation(runs)
    by_seed = {name: _metric_by_seed(of_activation.get(name, ()), measure.on_test) for name in settings.compared}
    comparisons = compared(task, settings, runs)
    if settings.max_seeds is not None:
        comparisons = {
            name: replace(one, difference=always_interval(one.differences)) for name, one in comparisons.items()
        }
    cost_of = {row.activation: row for row in costs}
    trained = trainings(task, settings, runs)
    rows = []
    for name in settings.compared:
        mine = of_activation.get(name, [])
        found, comparison, price = (
            measure.interval([*by_seed[name].values()]),
            comparisons.get(name),
            cost_of.get(activation_of(name)),
        )
        rows.append(
            SummaryRow(
                activation=name,
                runs=len(by_seed[name]),
                failed=sum(run.status == "failed" for run in mine),
                metric=measure.on_test,
                mean=found.mean,
                low=found.low,
                high=found.high,
                baseline=settings.against(name),
                difference=comparison.difference.mean if comparison else 0.0,
                difference_low=comparison.difference.low if comparison else 0.0,
                difference_high=comparison.difference.high if comparison else 0.0,
                p=comparison.p if comparison else math.nan,
                p_holm=comparison.p_holm if comparison else math.nan,
                verdict=comparison.verdict if comparison else "baseline",
                detectable=measure.in_its_unit(comparison.detectable) if comparison else math.nan,
                margin=math.nan if settings.margin is None or not comparison else settings.margin,
                p_equivalence=comparison.p_equivalence if comparison else math.nan,
                ms_ratio=price.ratio if price else math.nan,
                ms_ratio_low=price.ratio_low if price else math.nan,
                ms_ratio_high=price.ratio_high if price else math.nan,
                ms_per_step=price.ms_per_step if price else math.nan,
                peak_memory_mb=price.peak_memory_mb if price else math.nan,
                parameters=mine[0].parameters if mine else 0,
                **_of_training(trained.get(name), price, cost_of.get(settings.baseline)),
                **_of_transfer(measure, mine, of_activation.get(settings.against(name), ())),
            )
        )
    baseline = measure.interval([*by_seed[settings.baseline].values()]).mean
    return (*rows, *_reference_rows(task, settings.baseline, runs, baseline))


def compared(task: Declaration, settings: StudySettings, runs: Sequence[RunRecord]) -> dict[str, Comparison]:
    """Each activation but the baseline against it, judged as the settings ask; at its own rates against that at its.

    All of them are corrected together, and a comparison of the same runs twice is one.
    """
    measure = task.measure
    others = {name: settings.against(name) for name in settings.compared if name != settings.against(name)}
    again = {name: _made_before(settings, name, other) for name, other in others.items()}
    once = [name for name in others if not again[name]]
    of_activation = _by_activation(runs)
    by_seed = {name: _metric_by_seed(of_activation.get(name, ()), measure.on_test) for name in settings.compared}
    if settings.max_seeds is not None:
        by_seed |= {name: _in_order(settings, runs, name, by_seed[name]) for name in once}
    found = [measure.compare(by_seed[name], by_seed[others[name]]) for name in once]
    judged = dict(zip(once, _judged(measure, settings, found), strict=True))
    return {name: judged[again[name] or name] for name in others}


def _made_before(settings: StudySettings, name: str, other: str) -> str:
    """The activation whose comparison at the shared rates this one repeats; empty where it does not."""
    return settings.same_as(name) if settings.same_as(other) else ""


def _judged(measure: Metric, settings: StudySettings, found: Sequence[Comparison]) -> list[Comparison]:
    if settings.margin is None:
        return correct(found)
    judge = decide if settings.max_seeds is None else decide_sequentially
    return judge(found, measure.as_stored(settings.margin), f"{settings.margin:g}")


def trainings(task: Declaration, settings: StudySettings, runs: Sequence[RunRecord]) -> dict[str, Training]:
    """How much training each activation but the baseline needs beside it, where validation curves say it."""
    of_logarithms = interval if settings.max_seeds is None else always_interval
    return {name: training(pairs, of_logarithms) for name, pairs in besides(task, settings, runs).items()}


def besides(task: Declaration, settings: StudySettings, runs: Sequence[RunRecord]) -> dict[str, list[Paired]]:
    """The same by seed.

    Not of a selection, whose optimised network is trained after a search that its own curve does not show.
    """
    if isinstance(settings, SelectSettings):
        return {}
    courses = {(run.activation, run.seed): _course(task, run) for run in runs if run.status == "finished"}
    found = {}
    for name in settings.activations:
        seeds = (seed for seed in settings.seeds if {(name, seed), (settings.baseline, seed)} <= courses.keys())
        pairs = (beside(courses[name, seed], courses[settings.baseline, seed]) for seed in seeds)
        known = [pair for pair in pairs if pair is not None]
        if known and name != settings.baseline:
            found[name] = known
    return found


def _course(task: Declaration, run: RunRecord) -> Course:
    """A run's validation scores, of which more is better."""
    return Course([row.epoch for row in run.curves], [task.measure.goodness(row.heldout_score) for row in run.curves])


def _of_training(found: Training | None, price: CostRow | None, baseline: CostRow | None) -> dict[str, Any]:
    """The columns of how much training an activation needs, and how much time that takes."""
    step = price.ratio / baseline.ratio if price and baseline and found else math.nan
    if found is None:
        return {}
    time = scaled(found.epochs, step) if math.isfinite(step) else Interval(math.nan, math.nan, math.nan)
    return {
        "reach_pairs": found.pairs,
        "reached": found.reached,
        "epochs_ratio": found.epochs.mean,
        "epochs_ratio_low": found.epochs.low,
        "epochs_ratio_high": found.epochs.high,
        "epochs_at_least": found.at_least,
        "step_ratio": step,
        "time_ratio": time.mean,
        "time_ratio_low": time.low,
        "time_ratio_high": time.high,
    }


def _of_transfer(measure: Metric, runs: Sequence[RunRecord], baseline: Sequence[RunRecord]) -> dict[str, Any]:
    """The columns of other data that were tested too."""
    values, others = (_transferred(measure, of) for of in (runs, baseline))
    if not values:
        return {}
    found = measure.interval([*values.values()])
    difference = measure.difference_interval([values[seed] - others[seed] for seed in values if seed in others])
    return {
        "transfer": found.mean,
        "transfer_low": found.low,
        "transfer_high": found.high,
        "transfer_difference": difference.mean,
        "transfer_difference_low": difference.low,
        "transfer_difference_high": difference.high,
    }


def _transferred(measure: Metric, runs: Sequence[RunRecord]) -> dict[int, float]:
    return {run.seed: run.metrics[measure.on_transfer] for run in runs if measure.on_transfer in run.metrics}


def _in_order(
    settings: StudySettings, runs: Sequence[RunRecord], activation: str, by_seed: Mapping[int, float]
) -> dict[int, float]:
    """The values of seeds before the first whose runs are to come, so that the order in which runs end has no say."""
    done = {(run.activation, run.seed) for run in runs}
    pending = (
        seed for seed in settings.seeds if not {(activation, seed), (settings.against(activation), seed)} <= done
    )
    end = next(pending, math.inf)
    return {seed: value for seed, value in by_seed.items() if seed < end}


def _reference_rows(task: Declaration, baseline: str, runs: Sequence[RunRecord], mean: float) -> list[SummaryRow]:
    """What needs no network, beside the activations; it is the same in every run, and takes part in no test."""
    name = task.measure.of_reference
    value = next((run.metrics[name] for run in runs if name in run.metrics), None)
    if not task.reference or value is None:
        return []
    nothing: dict[str, Any] = dict.fromkeys(
        ("low", "high", "difference_low", "difference_high", "p", "p_holm"), math.nan
    )
    costless: dict[str, Any] = dict.fromkeys(
        ("ms_ratio", "ms_ratio_low", "ms_ratio_high", "ms_per_step", "peak_memory_mb"), math.nan
    )
    return [
        SummaryRow(
            activation=task.reference,
            runs=0,
            failed=0,
            metric=task.measure.on_test,
            mean=value,
            baseline=baseline,
            difference=value - mean,
            verdict=REFERENCE,
            parameters=0,
            **nothing,
            **costless,
        )
    ]


def _by_activation(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(run.activation, []).append(run)
    return found


def _metric_by_seed(runs: Sequence[RunRecord], metric: str) -> dict[int, float]:
    return {run.seed: run.metrics[metric] for run in runs if run.status == "finished"}
