"""The summary of a study's runs: a row an activation, and one for what needs no network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from limen.lab.declaration import Declaration
from limen.lab.records import CostRow, RunRecord, SummaryRow
from limen.lab.settings import StudySettings
from limen.lab.statistics import correct

REFERENCE = "reference"
"""The verdict of a row that is no activation."""


def summarise(
    task: Declaration, settings: StudySettings, runs: Sequence[RunRecord], costs: Sequence[CostRow]
) -> tuple[SummaryRow, ...]:
    """One row an activation: mean and interval, paired difference to the baseline, corrected p, verdict, cost."""
    measure = task.measure
    of_activation: dict[str, list[RunRecord]] = {}
    for run in runs:
        of_activation.setdefault(run.activation, []).append(run)
    by_seed = {
        name: _metric_by_seed(of_activation.get(name, ()), name, measure.on_test) for name in settings.activations
    }
    others = [name for name in settings.activations if name != settings.baseline]
    compared = correct([measure.compare(by_seed[name], by_seed[settings.baseline]) for name in others])
    comparisons = dict(zip(others, compared, strict=True))
    cost_of = {row.activation: row for row in costs}
    rows = []
    for name in settings.activations:
        mine = of_activation.get(name, [])
        found, comparison, price = measure.interval([*by_seed[name].values()]), comparisons.get(name), cost_of.get(name)
        rows.append(
            SummaryRow(
                activation=name,
                runs=len(by_seed[name]),
                failed=sum(run.status == "failed" for run in mine),
                metric=measure.on_test,
                mean=found.mean,
                low=found.low,
                high=found.high,
                baseline=settings.baseline,
                difference=comparison.difference.mean if comparison else 0.0,
                difference_low=comparison.difference.low if comparison else 0.0,
                difference_high=comparison.difference.high if comparison else 0.0,
                p=comparison.p if comparison else math.nan,
                p_holm=comparison.p_holm if comparison else math.nan,
                verdict=comparison.verdict if comparison else "baseline",
                ms_ratio=price.ratio if price else math.nan,
                ms_ratio_low=price.ratio_low if price else math.nan,
                ms_ratio_high=price.ratio_high if price else math.nan,
                ms_per_step=price.ms_per_step if price else math.nan,
                peak_memory_mb=price.peak_memory_mb if price else math.nan,
                parameters=mine[0].parameters if mine else 0,
            )
        )
    baseline = measure.interval([*by_seed[settings.baseline].values()]).mean
    return (*rows, *_reference_rows(task, settings.baseline, runs, baseline))


def _reference_rows(task: Declaration, baseline: str, runs: Sequence[RunRecord], mean: float) -> list[SummaryRow]:
    """What needs no network, beside the activations; it is the same in every run, and takes part in no test."""
    name = task.measure.of_reference
    value = next((run.metrics[name] for run in runs if name in run.metrics), None)
    if not task.reference or value is None:
        return []
    nothing = dict.fromkeys(("low", "high", "difference_low", "difference_high", "p", "p_holm"), math.nan)
    costless = dict.fromkeys(("ms_ratio", "ms_ratio_low", "ms_ratio_high", "ms_per_step", "peak_memory_mb"), math.nan)
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


def _metric_by_seed(runs: Sequence[RunRecord], activation: str, metric: str) -> dict[int, float]:
    return {run.seed: run.metrics[metric] for run in runs if run.activation == activation and run.status == "finished"}
