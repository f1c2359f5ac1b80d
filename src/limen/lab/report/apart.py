"""Runs that ended far from the others of their activation: what a mean and its interval do not say."""

from __future__ import annotations

from collections.abc import Sequence

from limen.lab.metric import Metric
from limen.lab.records import RunRecord
from limen.lab.report.wording import counted
from limen.lab.statistics import two_groups


def apart(runs: Sequence[RunRecord], metric: Metric) -> list[str]:
    """Which activations have runs in two groups: a notice of a few sentences, or none."""
    scores: dict[str, list[float]] = {}
    for run in runs:
        if run.status == "finished" and metric.on_test in run.metrics:
            scores.setdefault(run.activation, []).append(run.metrics[metric.on_test])
    found = two_groups(scores)
    if not found:
        return []
    each = " ".join(_said(name, *groups, metric) for name, groups in found.items())
    hold = "Its mean and interval hold" if len(found) == 1 else "Their means and intervals hold"
    return [
        f"Runs ended in two groups. {each} {hold} both groups, and so do differences from there: they tell how often "
        "such runs come more than how good the others are. Where training breaks down, a lower rate or --warmup may "
        "help, and --tune lr --trial-seeds 3 finds rates that more than one seed survives."
    ]


def _said(name: str, lower: Sequence[float], higher: Sequence[float], metric: Metric) -> str:
    worse, better = (lower, higher) if metric.higher_is_better else (higher, lower)
    number = len(worse) + len(better)
    return (
        f"{name}: {len(worse)} of {counted(number, 'run')} at {_span(worse, metric)}, the other"
        f"{'s' if len(better) > 1 else ''} at {_span(better, metric)}."
    )


def _span(values: Sequence[float], metric: Metric) -> str:
    ends = dict.fromkeys(metric.value(value) for value in (min(values), max(values)))
    return f"{' to '.join(ends)} {metric.unit}".rstrip()
