"""How fast runs learn: the epochs until a loss is reached, from their stored curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limen.lab.records import RunRecord
from limen.lab.statistics import Interval, interval


def epochs_to_reach(run: RunRecord, loss: float) -> int | None:
    """The first epoch, counted from 1, after which the held-out loss is at most ``loss``; None if it never is."""
    return next((row.epoch for row in run.curves if row.heldout_loss <= loss), None)


def reached_by_all(runs: Sequence[RunRecord], baseline: str) -> float:
    """The lowest held-out loss that every finished run of the baseline reaches: a mark set by the baseline alone."""
    lowest = [min(row.heldout_loss for row in run.curves) for run in _finished(runs) if run.activation == baseline]
    if not lowest:
        raise ValueError(f"no run of the baseline {baseline!r} is finished.")
    return max(lowest)


def epochs_saved(runs: Sequence[RunRecord], baseline: str) -> Mapping[str, Interval]:
    """How many epochs earlier than the baseline each other activation reaches :func:`reached_by_all`, paired by seed.

    A run that never does counts as if it did in the epoch after its last.
    """
    mark = reached_by_all(runs, baseline)
    reached = {(run.activation, run.seed): epochs_to_reach(run, mark) or run.epochs + 1 for run in _finished(runs)}
    others = dict.fromkeys(name for name, _ in reached if name != baseline)
    return {
        name: interval([reached[baseline, seed] - epochs for (which, seed), epochs in reached.items()
                        if which == name and (baseline, seed) in reached])
        for name in others
    }  # fmt: skip


def _finished(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if run.status == "finished"]
