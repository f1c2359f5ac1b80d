"""What the runs of one recipe say about the claims it tests: paired differences, corrected together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from limen.lab.papers.ledger.claim import Claim
from limen.lab.papers.verdicts import by_seed
from limen.lab.records import RunRecord
from limen.lab.report.wording import Scale
from limen.lab.statistics import Comparison, Interval, compare, correct, interval
from limen.lab.study.rows import Rows
from limen.lab.tasks import registry

EPOCHS = "epochs"
"""The metric of a claim about convergence."""
LOWER_IS_BETTER = frozenset({EPOCHS, "loss", "mae", "mse"}) | {
    task.measure.name for task in registry.ALL if not task.measure.higher_is_better
}
PROTOCOLS = {"honest": "test_", "paper": "best_test_"}
"""The test score of the epoch that held-out examples chose; the best test score of any epoch."""


@dataclass(frozen=True)
class Pair:
    """Two networks and what they are compared by."""

    one: str
    other: str
    metric: str


@dataclass(frozen=True)
class Measured:
    """A paired difference of two networks, better meaning above 0, with what each of them came to."""

    pair: Pair
    found: Comparison
    one: Interval
    other: Interval

    def said(self) -> str:
        """Both networks, and the difference with its interval, in the metric's own direction.

        The difference of a metric of which less is better is below 0 where the first is better.
        """
        if math.isnan(self.found.difference.mean):
            return ""
        difference, sign = self.found.difference, _sign(self.pair.metric)
        ends = sorted((sign * difference.low, sign * difference.high))
        if self.pair.metric == EPOCHS:
            span = "" if math.isnan(difference.low) else f" ({ends[0]:+.1f} to {ends[1]:+.1f})"
            return f"{self.one.mean:.1f} against {self.other.mean:.1f} epochs: {sign * difference.mean:+.1f}{span}"
        scale = Scale(f"test_{self.pair.metric}", self.one.mean)
        levels = f"{scale.value(self.one.mean)} against {scale.value(self.other.mean)}"
        span = "" if math.isnan(difference.low) else f" ({scale.span(*ends, signed=True)})"
        return f"{levels}: {scale.difference(sign * difference.mean)}{span}"


class Measurements:
    """The comparisons that a recipe's claims need, made from its rows; Holm's correction runs over all of them."""

    def __init__(self, rows: Rows, claims: Sequence[Claim]) -> None:
        self.rows, self.claims = rows, claims
        self.measure = rows.task.measure

    def metric(self, claim: Claim) -> str:
        """What a claim is judged by."""
        return EPOCHS if claim.kind == "convergence" else claim.metric or self.measure.name

    def pairs(self, claim: Claim) -> list[Pair]:
        """The comparisons that a claim needs."""
        if claim.kind not in ("order", "best", "convergence"):
            return []
        return [Pair(claim.one, other, self.metric(claim)) for other in claim.than]

    @cached_property
    def honest(self) -> Mapping[Pair, Measured]:
        """By the epoch that held-out examples chose."""
        return self._measured("honest")

    @cached_property
    def paper(self) -> Mapping[Pair, Measured]:
        """By the best test epoch, which is noted for the measure that decides only."""
        return self._measured("paper")

    def _measured(self, protocol: str) -> Mapping[Pair, Measured]:
        pairs = list(dict.fromkeys(pair for claim in self.claims for pair in self.pairs(claim)))
        values = {pair: self._values(pair, protocol) for pair in pairs}
        raw = [compare(_turned(one, pair), _turned(other, pair)) for pair, (one, other) in values.items()]
        return {
            pair: Measured(pair, found, interval(list(one.values())), interval(list(other.values())))
            for (pair, (one, other)), found in zip(values.items(), correct(raw), strict=True)
        }

    def _values(self, pair: Pair, protocol: str) -> tuple[Mapping[int, float], Mapping[int, float]]:
        if pair.metric == EPOCHS:
            return epochs_to_reach(self.rows.runs, pair) if protocol == "honest" else ({}, {})
        column = PROTOCOLS[protocol] + pair.metric
        one, other = (by_seed(self.rows.runs, name, column) for name in (pair.one, pair.other))
        seeds = sorted(one.keys() & other.keys())  # the levels shown are those of the difference
        return {seed: one[seed] for seed in seeds}, {seed: other[seed] for seed in seeds}

    def values(self, claim: Claim, protocol: str) -> list[float]:
        """One network's metric, a value a seed."""
        return list(by_seed(self.rows.runs, claim.one, PROTOCOLS[protocol] + self.metric(claim)).values())


def epochs_to_reach(runs: Sequence[RunRecord], pair: Pair) -> tuple[dict[int, float], dict[int, float]]:
    """By seed, after how many epochs each of two networks first has the held-out loss that both of them reach.

    That loss is the worse of their two lowest, so that neither is asked for more than it came to.
    """
    one, other = (_curves(runs, name) for name in (pair.one, pair.other))
    seeds = sorted(one.keys() & other.keys())
    common = {seed: max(min(one[seed]), min(other[seed])) for seed in seeds}
    return tuple({seed: _first(curves[seed], common[seed]) for seed in seeds} for curves in (one, other))  # type: ignore[return-value]


def _curves(runs: Sequence[RunRecord], name: str) -> dict[int, list[float]]:
    mine = (run for run in runs if run.activation == name and run.status == "finished" and run.curves)
    losses = {run.seed: [_reached(row.heldout_loss) for row in run.curves] for run in mine}
    return {seed: values for seed, values in losses.items() if math.isfinite(min(values))}


def _reached(loss: float) -> float:
    """A loss that is not a number reaches nothing."""
    return math.inf if math.isnan(loss) else loss


def _first(losses: Sequence[float], level: float) -> float:
    return float(next(epoch for epoch, loss in enumerate(losses, start=1) if loss <= level))


def _sign(metric: str) -> float:
    return -1.0 if metric in LOWER_IS_BETTER else 1.0


def _turned(values: Mapping[int, float], pair: Pair) -> dict[int, float]:
    """The values such that more is better."""
    return {seed: _sign(pair.metric) * value for seed, value in values.items()}
