"""What a study's p values are worth after it was looked at, and the intervals that hold nevertheless."""

from __future__ import annotations

import math
from collections.abc import Sequence

from limen.lab.metric import Metric
from limen.lab.records import Asked, RunRecord
from limen.lab.report.wording import short
from limen.lab.settings import StudySettings
from limen.lab.statistics import LEVEL, always_interval, fewest_seeds


def looked_at(asked: Sequence[Asked], settings: StudySettings, metric: Metric, runs: Sequence[RunRecord]) -> list[str]:
    """That seeds were added to a study planned without them, and what holds all the same; nothing where none were.

    A study with ``max_seeds`` was planned to be looked at.
    """
    if settings.max_seeds is not None or not any(one.seeds for one in asked[1:]):
        return []
    others = {name: settings.against(name) for name in settings.compared if name != settings.against(name)}
    found = {name: _always(name, other, metric, runs) for name, other in others.items()}
    said = [f"{short(name)} {text}" for name, text in found.items() if text]
    least = fewest_seeds(1 - LEVEL, two_sided=True)
    unit = f" {metric.difference_unit}".rstrip()
    instead = (
        f"Intervals of the differences that hold at every look (95 %): {', '.join(said)}{unit}."
        if said
        else f"From {least} seeds on, an interval that holds at every look will stand here."
    )
    return [
        "Seeds were added to a study that had results, so its p values were looked at before: looking after every "
        "seed, 26 of 100 studies without any difference find one. --seeds auto with --margin may be looked at. "
        + instead
    ]


def _always(name: str, baseline: str, metric: Metric, runs: Sequence[RunRecord]) -> str:
    mine, base = (_by_seed(runs, which, metric) for which in (name, baseline))
    found = always_interval([mine[seed] - base[seed] for seed in sorted(mine.keys() & base.keys())])
    return metric.difference_span(found.low, found.high) if math.isfinite(found.low) else ""


def _by_seed(runs: Sequence[RunRecord], name: str, metric: Metric) -> dict[int, float]:
    mine = (run for run in runs if run.activation == name and run.status == "finished")
    return {run.seed: run.metrics[metric.on_test] for run in mine}
