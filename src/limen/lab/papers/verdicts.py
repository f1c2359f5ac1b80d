"""Published claims against measured runs: confirmed, not detectable, contradicted.

A published order of two networks is held against the paired differences over seeds; what was said about a layer,
against the mixture's weights over seeds. "Not detectable" means that the interval leaves both open.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from limen.lab.papers.recipe import Recipe
from limen.lab.records import RunRecord
from limen.lab.statistics import Comparison, Interval, compare, correct, interval
from limen.selection import Choice, Plan


@dataclass(frozen=True)
class NumberRow:
    """One published number beside the measured ones."""

    network: str
    published: float
    paper: Interval
    """Measured as the paper measured."""
    honest: Interval
    seeds: int


@dataclass(frozen=True)
class ClaimRow:
    """One claim with its verdict by each protocol."""

    claim: str
    published: str
    paper: str
    paper_verdict: str
    honest: str
    honest_verdict: str


@dataclass(frozen=True)
class LayerRow:
    """What was said about a layer beside what its mixture learned."""

    layer: str
    claim: str
    """``largest`` or ``least``."""
    words: str
    winner: str
    margin: str
    verdict: str


def paper_and_honest(recipe: Recipe) -> tuple[str, str]:
    """The best test epoch, as the papers report it; the test score of the epoch that held-out examples chose."""
    measure = recipe.problem.measure.on_test
    return f"best_{measure}", measure


def number_rows(recipe: Recipe, runs: Sequence[RunRecord]) -> list[NumberRow]:
    """The published table beside the measured numbers."""
    rows = []
    for row in recipe.published_rows():
        paper, honest = (by_seed(runs, row["network"], metric) for metric in paper_and_honest(recipe))
        measured = (interval(list(paper.values())), interval(list(honest.values())))
        rows.append(NumberRow(row["network"], float(row["value"]), *measured, len(honest)))
    return rows


def order_rows(recipe: Recipe, runs: Sequence[RunRecord], among: Collection[str] | None = None) -> list[ClaimRow]:
    """Every order of two networks that the published table implies, each judged by paired differences (Holm).

    ``among`` are the networks of the study, where these are not all of the table.
    """
    published = {row["network"]: float(row["value"]) for row in recipe.published_rows()}
    if among is not None:
        published = {name: value for name, value in published.items() if name in among}
    pairs = [(b, a) for a, b in itertools.combinations(published, 2)]
    differences = [published[one] - published[other] for one, other in pairs]
    judged = {}
    metrics = paper_and_honest(recipe)
    for metric in metrics:
        found = [compare(by_seed(runs, a, metric), by_seed(runs, b, metric)) for a, b in pairs]
        judged[metric] = correct(found)
    rows = []
    for index, ((one, other), difference) in enumerate(zip(pairs, differences, strict=True)):
        paper, honest = (judged[metric][index] for metric in metrics)
        rows.append(
            ClaimRow(
                _said(one, other, difference),
                f"{100 * difference:+.1f}",
                _measured(paper),
                verdict(difference, paper),
                _measured(honest),
                verdict(difference, honest),
            )
        )
    return rows


def verdict(published: float, found: Comparison) -> str:
    """Whether a measured difference bears a published one out."""
    if found.pairs < 2 or math.isnan(found.p):  # without a spread over seeds, or not finite
        return "not tested"
    if found.verdict not in ("better", "worse"):
        return "not detectable"
    if abs(published) < 5e-4:  # equal, to the three decimals of the table
        return "contradicted"
    return "confirmed" if (found.difference.mean > 0) == (published > 0) else "contradicted"


def layer_rows(recipe: Recipe, plan: Plan | None) -> list[LayerRow]:
    """What was published about layers; the sites of the plan are the layers in order."""
    if plan is None:
        return []
    rows = []
    for row in recipe.published_layers():
        index = int(row["layer"]) - 1
        if not 0 <= index < len(plan.sites):
            continue
        choice = plan.sites[index]
        named = row["candidates"].split("|")
        found = interval(_leads(choice, named, least=row["claim"] == "least"))
        winner = f"{choice.winner} ({choice.share:.3f}, {round(choice.agreement * len(choice.seeds))} of "
        margin = f"{found.mean:+.4f}" + ("" if math.isnan(found.low) else f" ({found.low:+.4f} to {found.high:+.4f})")
        winner += f"{len(choice.seeds)} seeds)"
        rows.append(LayerRow(row["layer"], row["claim"], row["words"], winner, margin, lead_verdict(found)))
    return rows


def _leads(choice: Choice, named: Sequence[str], *, least: bool) -> list[float]:
    """For each seed how far the best of the named candidates is ahead of the best other, or the least below it."""
    sign = -1.0 if least else 1.0
    weights = choice.weights
    ours = max((n for n in choice.candidates if n in named), key=lambda n: sign * weights[n])
    other = max((n for n in choice.candidates if n not in named), key=lambda n: sign * weights[n])
    return [sign * (seed.weights[ours] - seed.weights[other]) for seed in choice.seeds]


def lead_verdict(found: Interval) -> str:
    """Whether a lead that the paper reports is there: above 0, below it, or open."""
    if math.isnan(found.low):
        return "not tested"
    if found.low > 0:
        return "confirmed"
    return "contradicted" if found.high < 0 else "not detectable"


def by_seed(runs: Sequence[RunRecord], network: str, metric: str) -> Mapping[int, float]:
    """A metric of a network's finished runs."""
    mine = (run for run in runs if run.activation == network and run.status == "finished" and metric in run.metrics)
    return {run.seed: run.metrics[metric] for run in mine}


def _said(one: str, other: str, difference: float) -> str:
    relation = "is as good as" if abs(difference) < 5e-4 else "is better than" if difference > 0 else "is worse than"
    return f"{one} {relation} {other}"


def _measured(found: Comparison) -> str:
    """A paired difference in points with its interval."""
    difference = found.difference
    if math.isnan(difference.mean):
        return "–"
    text = f"{100 * difference.mean:+.2f}"
    if math.isnan(difference.low):
        return text
    return f"{text} ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
