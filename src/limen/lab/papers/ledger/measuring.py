"""What the runs of one recipe say about the claims it tests: paired differences, corrected together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from limen.errors import SpecError
from limen.lab.metric import EPOCHS, Metric
from limen.lab.numerals import plain
from limen.lab.papers.ledger.claim import Claim
from limen.lab.papers.verdicts import by_seed
from limen.lab.records import RunRecord
from limen.lab.statistics import Comparison, Interval, correct, or_equivalent
from limen.lab.study.rows import Rows


@dataclass(frozen=True)
class Pair:
    """Two networks and what they are compared by."""

    one: str
    other: str
    metric: Metric


@dataclass(frozen=True)
class Measured:
    """A paired difference of two networks, with what each of them came to."""

    pair: Pair
    found: Comparison
    one: Interval
    other: Interval

    @property
    def ahead(self) -> float:
        """By how much the first is better."""
        return self.pair.metric.goodness(self.found.difference.mean)

    def said(self) -> str:
        """Both networks, and the difference with its interval.

        The difference of a metric of which less is better is below 0 where the first is better.
        """
        if math.isnan(self.found.difference.mean):
            return ""
        metric, beside = self.pair.metric, self.one.mean
        difference = metric.mean_difference(self.found.difference, beside)
        if metric is EPOCHS:  # with a hyphen, as in every page that was made
            return plain(f"{metric.value(beside)} against {metric.said(self.other.mean)}: {difference}")
        return f"{metric.value(beside)} against {metric.value(self.other.mean)}: {difference}"


class Measurements:
    """The comparisons that a recipe's claims need, made from its rows; Holm's correction runs over all of them."""

    def __init__(self, rows: Rows, claims: Sequence[Claim]) -> None:
        self.rows, self.claims = rows, claims

    def metric(self, claim: Claim) -> Metric:
        """What a claim is judged by."""
        if claim.kind == "convergence":
            return EPOCHS
        try:
            return self.rows.task.metric(claim.metric) if claim.metric else self.rows.task.measure
        except SpecError as error:
            raise SpecError(f"the claim {claim.id}: {error}") from None

    def pairs(self, claim: Claim) -> list[Pair]:
        """The comparisons that a claim needs."""
        if claim.kind not in ("order", "best", "convergence"):
            return []
        return [Pair(claim.one, other, self.metric(claim)) for other in claim.than]

    @cached_property
    def honest(self) -> Mapping[Pair, Measured]:
        """By the epoch that held-out examples chose."""
        return self._measured(lambda metric: metric.on_test)

    @cached_property
    def paper(self) -> Mapping[Pair, Measured]:
        """By the best test epoch, which is noted for the measure that decides only."""
        return self._measured(lambda metric: metric.best_on_test)

    def _measured(self, stored: Callable[[Metric], str]) -> Mapping[Pair, Measured]:
        pairs = list(dict.fromkeys(pair for claim in self.claims for pair in self.pairs(claim)))
        values = {pair: self._values(pair, stored(pair.metric)) for pair in pairs}
        compared = correct([pair.metric.compare(one, other) for pair, (one, other) in values.items()])
        found = or_equivalent(compared, [pair.metric.stored_margin for pair in pairs])
        means = ([pair.metric.interval([*of.values()]) for of in values[pair]] for pair in pairs)
        return {pair: Measured(pair, one, *both) for pair, one, both in zip(pairs, found, means, strict=True)}

    def _values(self, pair: Pair, name: str) -> tuple[Mapping[int, float], Mapping[int, float]]:
        if pair.metric is EPOCHS:
            return epochs_to_reach(self.rows.runs, pair) if name == EPOCHS.on_test else ({}, {})
        one, other = (by_seed(self.rows.runs, network, name) for network in (pair.one, pair.other))
        seeds = sorted(one.keys() & other.keys())  # the levels shown are those of the difference
        return {seed: one[seed] for seed in seeds}, {seed: other[seed] for seed in seeds}

    def values(self, claim: Claim, name: str) -> list[float]:
        """What is stored of one network by a name, a value a seed."""
        return list(by_seed(self.rows.runs, claim.one, name).values())


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
