"""Published claims against measured runs: confirmed, equivalent, undecided, contradicted.

A published order of two networks is held against the paired differences over seeds; what was said about a layer,
against the mixture's weights over seeds. "Equivalent": they differ by less than the metric's margin. "Undecided": the
seeds leave all of it open.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limen.lab.metric import LEAD, Metric
from limen.lab.numerals import fixed, plain
from limen.lab.papers.recipe import Recipe
from limen.lab.records import RunRecord
from limen.lab.statistics import LEVEL, Comparison, Interval, correct, detectable, or_equivalent
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
    detectable: float = math.nan
    """The smallest lead that so many seeds show in 80 of 100 studies."""


def number_rows(recipe: Recipe, runs: Sequence[RunRecord]) -> list[NumberRow]:
    """The published table beside the measured numbers."""
    table, measure = recipe.table, recipe.problem.measure
    rows = []
    for network, value in table.values.items() if table else ():
        paper, honest = (by_seed(runs, network, name) for name in (measure.best_on_test, measure.on_test))
        measured = (measure.interval([*paper.values()]), measure.interval([*honest.values()]))
        rows.append(NumberRow(network, float(value), *measured, len(honest)))
    return rows


def order_rows(recipe: Recipe, runs: Sequence[RunRecord], among: Collection[str] | None = None) -> list[ClaimRow]:
    """Every order of two networks that the published table implies, each judged by paired differences (Holm).

    ``among`` are the networks of the study, where these are not all of the table.
    """
    table, measure = recipe.table, recipe.problem.measure
    if table is None:
        return []
    pairs = [(b, a) for a, b in itertools.combinations(table.values, 2) if among is None or {a, b} <= {*among}]
    paper, honest = (_differences(runs, pairs, measure, name) for name in (measure.best_on_test, measure.on_test))
    rows = []
    for (one, other), (paper_text, by_paper), (text, honestly) in zip(pairs, paper, honest, strict=True):
        ahead = table.ahead(one, other)
        relation = "is as good as" if ahead == 0 else "is better than" if ahead > 0 else "is worse than"
        verdicts = verdict(ahead, by_paper), verdict(ahead, honestly)
        difference = plain(table.difference(one, other))
        rows.append(ClaimRow(f"{one} {relation} {other}", difference, paper_text, verdicts[0], text, verdicts[1]))
    return rows


def _differences(
    runs: Sequence[RunRecord], pairs: Sequence[tuple[str, str]], measure: Metric, name: str
) -> list[tuple[str, Comparison]]:
    """By how much each pair differs in what is stored by a name, as text too; corrected together."""
    values = {network: by_seed(runs, network, name) for pair in pairs for network in pair}
    means = {network: measure.interval([*found.values()]).mean for network, found in values.items()}
    compared = correct([measure.compare(values[one], values[other]) for one, other in pairs])
    found = or_equivalent(compared, [measure.stored_margin] * len(pairs))
    texts = (plain(measure.mean_difference(c.difference, means[one])) for (one, _), c in zip(pairs, found, strict=True))
    return list(zip(texts, found, strict=True))


def verdict(ahead: float, found: Comparison) -> str:
    """Whether a measured difference bears out how much better a network is published to be (0: as good)."""
    if found.pairs < 2 or math.isnan(found.p):  # without a spread over seeds, or not finite
        return "not tested"
    if found.verdict == "equivalent":
        return "confirmed" if ahead == 0 else "equivalent"
    if found.verdict not in ("better", "worse"):
        return "undecided"
    if ahead == 0:
        return "contradicted"
    return "confirmed" if (found.verdict == "better") == (ahead > 0) else "contradicted"


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
        leads = _leads(choice, named, least=row["claim"] == "least")
        found = LEAD.difference_interval(leads)
        winner = f"{choice.winner} ({fixed(choice.share, 3)}, {round(choice.agreement * len(choice.seeds))} of "
        margin = plain(LEAD.mean_difference(found))
        winner += f"{len(choice.seeds)} seeds)"
        rows.append(
            LayerRow(row["layer"], row["claim"], row["words"], winner, margin, lead_verdict(found), could_see(leads))
        )
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
    return "contradicted" if found.high < 0 else "undecided"


def could_see(values: Sequence[float]) -> float:
    """The smallest mean above 0 that so many values show in 80 of 100 studies, tested alone."""
    return detectable(float(np.std(values, ddof=1)), len(values), 1 - LEVEL) if len(values) > 1 else math.nan


def by_seed(runs: Sequence[RunRecord], network: str, metric: str) -> Mapping[int, float]:
    """A metric of a network's finished runs."""
    mine = (run for run in runs if run.activation == network and run.status == "finished" and metric in run.metrics)
    return {run.seed: run.metrics[metric] for run in mine}
