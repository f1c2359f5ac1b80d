"""Runs that ended far from the others of their activation: what a mean and its interval do not say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limen.lab.metric import Metric
from limen.lab.records import RunRecord
from limen.lab.report.wording import counted
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.statistics import two_groups

SEEDS = 3
"""Of a trial, that are advised."""


def apart(runs: Sequence[RunRecord], metric: Metric, settings: StudySettings) -> list[str]:
    """Which activations have runs in two groups: a notice of a few sentences, or none."""
    scores: dict[str, list[float]] = {}
    for run in runs:
        if run.status == "finished" and metric.on_test in run.metrics:
            scores.setdefault(run.activation, []).append(run.metrics[metric.on_test])
    found = two_groups(scores, metric.bounds)
    if not found:
        return []
    each = " ".join(_said(name, *groups, metric) for name, groups in found.items())
    hold = "Its mean and interval hold" if len(found) == 1 else "Their means and intervals hold"
    return [
        f"Runs ended in two groups. {each} {hold} both groups, and so do differences from there: they tell how often "
        f"such runs come more than how good the others are. {_advice(settings)}"
    ]


def _advice(settings: StudySettings) -> str:
    """What may help, that this study can be given and was not."""
    helps = "Where training breaks down, a lower rate or --warmup may help"
    if isinstance(settings, SelectSettings) or settings.test_chooses or settings.trial_seeds >= SEEDS:
        return f"{helps}."
    return f"{helps}, and --tune lr --trial-seeds {SEEDS} finds some of the rates that not every seed survives."


def _said(name: str, lower: Sequence[float], higher: Sequence[float], metric: Metric) -> str:
    worse, better = (lower, higher) if metric.higher_is_better else (higher, lower)
    number, s = len(worse) + len(better), "s" if len(better) > 1 else ""
    one, other = (_span(group, metric.value) for group in (worse, better))
    if one == other:  # in the decimals of a table nothing is left of numbers this small
        one, other = (_span(group, "{:.3g}".format) for group in (worse, better))
    at, others_at = (f"{span} {metric.unit}".rstrip() for span in (one, other))
    return f"{name}: {len(worse)} of {counted(number, 'run')} at {at}, the other{s} at {others_at}."


def _span(values: Sequence[float], write: Callable[[float], str]) -> str:
    return " to ".join(dict.fromkeys(map(write, (min(values), max(values)))))
