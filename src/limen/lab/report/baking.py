"""What is lost where mixtures are replaced by their winners."""

from __future__ import annotations

from collections.abc import Sequence

from limen.lab.metric import GAP, Metric
from limen.lab.records import RunRecord
from limen.lab.statistics import Interval


def change_by_baking(measure: Metric, runs: Sequence[RunRecord]) -> Interval:
    """How much the measure changes where each trained mixture is replaced by its winner, over the searches."""
    return measure.difference_interval([measure.goodness(-run.metrics[GAP]) for run in runs if GAP in run.metrics])
