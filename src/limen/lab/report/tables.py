"""The rows of the page's tables, every cell already text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from limen.lab.declaration import Declaration
from limen.lab.metric import Metric
from limen.lab.numerals import MISSING, between, fixed, probability, significant, whole, with_unit
from limen.lab.records import TORCHS_RELU, CostRow, SummaryRow
from limen.lab.report.contents import Contents
from limen.lab.report.wording import counted
from limen.lab.settings import StudySettings
from limen.lab.statistics import word_of
from limen.lab.tasks.declared import hidden_options

BADGES = {
    "baseline": ("baseline", "—"),
    "better": ("better", "▲"),
    "worse": ("worse", "▼"),
    "no detectable difference": ("same", "≈"),
    "equivalent": ("same", "≈"),
    "undecided": ("open", "…"),
    "reference": ("reference", "·"),
}
"""CSS class and sign of each verdict, by what it begins with; any other verdict is a reason why there was no test."""
CLASSES_SHOWN = 20
MOST_LISTED = 100
"""Seeds or activations of the settings that are listed."""


@dataclass(frozen=True)
class SummaryLine:
    """One row of the summary table."""

    activation: str
    mean: str
    interval: str
    difference: str
    difference_interval: str
    p: str
    detectable: str
    verdict: str
    badge: str
    sign: str
    ratio: str
    ratio_span: str
    ms_per_step: str
    pace: str
    memory: str
    parameters: str
    runs: str
    failed: int


def summary_lines(study: Contents) -> list[SummaryLine]:
    """Write out the summary rows, and below them what torch's own ReLU costs."""
    references = (row for row in study.costs if row.activation == TORCHS_RELU)
    return [
        *(_summary_line(row, study.metric, pace(study.task, study.settings, row.ms_per_step)) for row in study.summary),
        *(_reference_line(row, pace(study.task, study.settings, row.ms_per_step)) for row in references),
    ]


def pace(task: Declaration, settings: StudySettings, ms_per_step: float) -> str:
    """How much is seen in a second of training, in three digits, where the task says what that is."""
    count, what = task.seen_in_a_step(settings)
    return f"{whole(float(f'{1000 * count / ms_per_step:.3g}'))} {what}/s" if count and ms_per_step > 0 else ""


def _summary_line(row: SummaryRow, metric: Metric, pace: str) -> SummaryLine:
    badge, sign = BADGES.get(word_of(row.verdict), ("untested", "?"))
    is_baseline = badge == "baseline"
    trained = badge != "reference"
    return SummaryLine(
        activation=row.activation,
        mean=metric.value(row.mean),
        interval=metric.span(row.low, row.high, beside=row.mean),
        difference=MISSING if is_baseline else metric.difference(row.difference, beside=row.mean),
        difference_interval=MISSING
        if is_baseline
        else metric.difference_span(row.difference_low, row.difference_high, beside=row.mean),
        p=MISSING if is_baseline else probability(row.p_holm),
        detectable=metric.detectable(row.detectable, beside=row.mean),
        verdict=row.verdict,
        badge=badge,
        sign=sign,
        ratio=fixed(row.ms_ratio),
        ratio_span=_span(row.ms_ratio_low, row.ms_ratio_high),
        ms_per_step=with_unit(significant(row.ms_per_step), " ms"),
        pace=pace,
        memory=significant(row.peak_memory_mb, 4),
        parameters=whole(row.parameters) if trained else MISSING,
        runs=str(row.runs) if trained else MISSING,
        failed=row.failed,
    )


def _reference_line(row: CostRow, pace: str) -> SummaryLine:
    """What the times are relative to; nothing was trained with it."""
    nothing = dict.fromkeys(
        ("mean", "interval", "difference", "difference_interval", "p", "detectable", "runs"), MISSING
    )
    return SummaryLine(
        activation=row.activation,
        verdict="timed only",
        badge="reference",
        sign=BADGES["reference"][1],
        ratio=fixed(row.ratio),
        ratio_span=_span(row.ratio_low, row.ratio_high),
        ms_per_step=with_unit(significant(row.ms_per_step), " ms"),
        pace=pace,
        memory=significant(row.peak_memory_mb, 4),
        parameters=whole(row.parameters),
        failed=0,
        **nothing,
    )


def _span(low: float, high: float) -> str:
    return between(fixed(low), fixed(high))


@dataclass(frozen=True)
class MeasureTable:
    """Other test metrics of the task, a row an activation."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """Activation, and for each metric its mean and interval."""


def measure_table(study: Contents) -> MeasureTable | None:
    """Tabulate the test metrics of the task, what needs no network last; None where there is but one."""
    known = {name for run in study.runs for name in run.metrics}
    metrics = [metric for metric in study.task.metrics if metric.on_test in known]
    if len(metrics) < 2 or not study.summary:
        return None
    rows = [(row.activation, tuple(_measured(study, row, metric) for metric in metrics)) for row in study.summary]
    return MeasureTable(tuple(metric.heading for metric in metrics), tuple(rows))


def _measured(study: Contents, row: SummaryRow, metric: Metric) -> tuple[str, str]:
    if row.verdict == "reference":
        values = (run.metrics[metric.of_reference] for run in study.runs if metric.of_reference in run.metrics)
        return metric.value(next(values, float("nan"))), ""
    finished = study.finished(row.activation)
    found = metric.interval([run.metrics[metric.on_test] for run in finished if metric.on_test in run.metrics])
    return metric.value(found.mean), metric.span(found.low, found.high)


@dataclass(frozen=True)
class RunLine:
    """One run."""

    activation: str
    seed: int
    score: str
    epoch: str
    seconds: str
    record: str
    """Where its record lies, from the page; empty where none is beside it."""


def run_lines(study: Contents) -> list[RunLine]:
    """Every run, finished or failed."""
    name, metric = study.metric.on_test, study.metric
    return [
        RunLine(
            activation=run.activation,
            seed=run.seed,
            score=metric.value(run.metrics.get(name, math.nan)) if run.status == "finished" else "failed",
            epoch=str(run.best_epoch) if run.best_epoch else MISSING,
            seconds=significant(run.seconds),
            record=study.records.get((run.activation, run.seed), ""),
        )
        for run in study.runs
    ]


def facts(study: Contents) -> list[str]:
    """What was learned from and for how long, for the line under the title."""
    data, settings = study.data, study.settings
    return [
        *(data.description or _images(study)),
        f"{whole(data.train)} training, {whole(data.validation)} validation, {whole(data.test)} test",
        f"{'up to ' * (settings.max_seeds is not None)}{counted(len(settings.seeds), 'seed')}",
        counted(settings.epochs, "epoch"),
    ]


def _images(study: Contents) -> tuple[str, str]:
    shape = "×".join(map(str, study.data.image_shape))
    return counted(len(study.data.classes), "class").replace("classs", "classes"), f"images {shape}"


def settings_rows(study: Contents) -> list[tuple[str, str]]:
    """Every setting of the study, and what identifies the data."""
    stored = study.settings.model_dump(mode="json")
    hidden = hidden_options(study.task)
    rows = [(name.replace("_", " "), _setting(value)) for name, value in stored.items() if name not in {*hidden, "own"}]
    classes = [("classes", _classes(study.data.classes))] if study.data.classes else []
    return [*rows, *classes, ("data fingerprint", study.data.fingerprint)]


def _setting(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and len(value) > MOST_LISTED:
        return f"{value[0]}, {value[1]}, … {value[-1]} ({whole(len(value))})"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _classes(names: tuple[str, ...]) -> str:
    more = len(names) - CLASSES_SHOWN
    return ", ".join(names[:CLASSES_SHOWN]) + (f" and {more} more" if more > 0 else "")
