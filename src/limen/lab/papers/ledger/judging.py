"""A verdict for every claim, from stored rows; none without them, and none from a run that was scaled down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from limen.errors import StudyError
from limen.lab.metric import LEAD, NONE, WEIGHT, Metric
from limen.lab.numerals import plain
from limen.lab.papers import recipe as recipes
from limen.lab.papers import verdicts as published
from limen.lab.papers.ledger import formulas
from limen.lab.papers.ledger.claim import Claim, Ledger
from limen.lab.papers.ledger.measuring import Measured, Measurements
from limen.lab.papers.recipe import Recipe
from limen.lab.report.wording import listed
from limen.lab.statistics import Interval
from limen.lab.study.rows import Rows

CONFIRMED, EQUIVALENT, OPEN = "confirmed", "equivalent", "undecided"
CONTRADICTED, NOT_TESTED = "contradicted", "not tested here"
VERDICTS = (CONFIRMED, EQUIVALENT, OPEN, CONTRADICTED, NOT_TESTED)
BETTER = 1.0
"""By how much a network is expected to be better where the paper gives a direction and no number."""


@dataclass(frozen=True)
class Entry:
    """A claim with what was measured and the verdict, by both protocols."""

    claim: Claim
    published: str = ""
    scale: str = ""
    """The network, how much data was used, and how much the paper had."""
    seeds: int = 0
    honest: str = ""
    verdict: str = NOT_TESTED
    as_the_paper: str = ""
    """The same measured as the papers measure, by the best test epoch; empty where it is not noted."""
    verdict_as_the_paper: str = ""
    why: str = ""
    beside: str = ""
    """What belongs to the verdict: within what it is equivalent, or what could have been seen where it is undecided."""

    def as_dict(self) -> dict[str, Any]:
        """The flat form for programs."""
        own = {key: value for key, value in asdict(self).items() if key != "claim"}
        return {**self.claim.model_dump(include={"id", "paper", "words", "source", "kind", "recipe"}), **own}


def judge(ledger: Ledger, studies: Iterable[Rows]) -> list[Entry]:
    """Every claim of the ledger, in its order.

    Raises:
        StudyError: if two studies follow the same recipe, so that it is not clear which of them decides.
    """
    rows = _by_recipe(studies)
    wanted: dict[str, list[Claim]] = {}
    for claim in ledger.claims:
        wanted.setdefault(claim.recipe, []).append(claim)
    measured = {name: Measurements(rows[name], wanted[name]) for name in wanted if name in rows}
    return [_entry(claim, measured.get(claim.recipe)) for claim in ledger.claims]


def _by_recipe(studies: Iterable[Rows]) -> dict[str, Rows]:
    """The study of each recipe; a full one before a quick one."""
    found: dict[str, Rows] = {}
    for study in studies:
        known = found.get(study.recipe)
        if known is not None and known.study.quick == study.study.quick and study.recipe:
            raise StudyError(
                f"{known.folder} and {study.folder} both follow the recipe {study.recipe}; name the one that decides."
            )
        if known is None or known.study.quick:
            found[study.recipe] = study
    return found


def _entry(claim: Claim, measurements: Measurements | None) -> Entry:
    if claim.kind == "untested":
        return Entry(claim, claim.published, why=claim.why)
    if claim.kind == "formula":
        found = formulas.check(claim.check)
        return Entry(
            claim, claim.published, "", 0, found.numbers, CONFIRMED if found.holds else CONTRADICTED, why=claim.why
        )
    if claim.recipe not in recipes.names():
        return Entry(claim, claim.published, why=f"there is no recipe {claim.recipe}")
    recipe = recipes.load(claim.recipe)
    if claim.kind == "layer":
        claim = claim.model_copy(update={"words": _layer_words(claim, recipe)})
    said = claim.published or _from_the_table(claim, recipe)
    if measurements is None:
        return Entry(claim, said, why=_joined(f"the recipe {claim.recipe} has not been run", claim.why))
    if measurements.rows.study.quick:
        return Entry(claim, said, why=_joined(f"of the recipe {claim.recipe} there is only a quick run", claim.why))
    return _judged(Entry(claim, said, _scale(claim, recipe, measurements.rows), why=claim.why), recipe, measurements)


def _judged(entry: Entry, recipe: Recipe, measurements: Measurements) -> Entry:
    judges: Mapping[str, Callable[[Claim, Recipe, Measurements], dict[str, Any]]] = {
        "order": _order,
        "best": _order,
        "convergence": _order,
        "value": _value,
        "layer": _layer,
        "share": _share,
        "depth": _depth,
    }
    found = judges[entry.claim.kind](entry.claim, recipe, measurements)
    behind = _unfinished(found.get("seeds", 0), measurements.rows)
    why = _joined(found.pop("why", ""), behind, entry.why)
    return Entry(**{**{key: getattr(entry, key) for key in Entry.__dataclass_fields__}, **found, "why": why})


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _unfinished(seeds: int, rows: Rows) -> str:
    """Runs that failed or are still to come leave a comparison fewer seeds than its recipe has."""
    planned = len(rows.study.settings.seeds)
    return f"{seeds} of {planned} seeds are finished" if 1 < seeds < planned else ""


def _order(claim: Claim, recipe: Recipe, measurements: Measurements) -> dict[str, Any]:
    """One network before one other or several: all comparisons must bear it out, and one against it is enough."""
    pairs = measurements.pairs(claim)
    honest, paper = ([by[pair] for pair in pairs] for by in (measurements.honest, measurements.paper))
    tested = [one for one in honest if not math.isnan(one.found.p)]
    missing = [one.pair.other for one in honest if one.found.pairs < 2]
    flat = [one.pair.other for one in honest if one.found.pairs > 1 and math.isnan(one.found.p)]
    verdict, paper_verdict = (_together(claim, recipe, many) for many in (honest, paper))
    return {
        "seeds": min((one.found.pairs for one in honest if one.found.pairs), default=0),
        "honest": _said(honest),
        "verdict": verdict,
        "as_the_paper": _said(paper),
        "verdict_as_the_paper": paper_verdict if any(one.found.pairs for one in paper) else "",
        "why": _joined(_not_run(claim, missing, some=bool(tested)), _no_test(flat)),
        "beside": _beside(verdict, honest),
    }


def _beside(verdict: str, measured: Sequence[Measured]) -> str:
    """The margin of an equivalence, or the least that could have been seen of what is open."""
    metric = measured[0].pair.metric
    if verdict == EQUIVALENT:
        return f"within {metric.margin:g} {metric.difference_unit}".rstrip()
    if verdict != OPEN:
        return ""
    still_open = [one for one in measured if one.found.verdict not in ("better", "worse", "equivalent")]
    return _could_see(metric, [one.found.detectable for one in still_open], beside=measured[0].one.mean)


def _could_see(metric: Metric, sizes: Sequence[float], beside: float = math.nan) -> str:
    """The smallest difference that so many seeds show, of several the largest; empty where none is known."""
    known = [size for size in sizes if math.isfinite(size)]
    if not known:
        return ""
    size = metric.detectable(metric.in_its_unit(max(known)), beside)
    return f"could have seen {size} {metric.difference_unit}".rstrip() if size != NONE else "could have seen nothing"


def _not_run(claim: Claim, missing: Sequence[str], *, some: bool) -> str:
    if not missing:
        return ""
    if some:
        return f"not compared with {listed(missing)} over 2 seeds or more"
    return f"fewer than 2 seeds of both {claim.one} and {listed(missing)} are stored"


def _no_test(flat: Sequence[str]) -> str:
    return f"the differences from {listed(flat)} are the same for every seed, or no numbers" if flat else ""


def _together(claim: Claim, recipe: Recipe, measured: Sequence[Measured]) -> str:
    single = [published.verdict(_expected(claim, one.pair.other, recipe), one.found) for one in measured]
    for verdict in (CONTRADICTED, "not tested", OPEN, EQUIVALENT):
        if verdict in single:
            return NOT_TESTED if verdict == "not tested" else verdict
    return CONFIRMED


def _expected(claim: Claim, other: str, recipe: Recipe) -> float:
    """How much better the first network is published to be, or only that it is."""
    table = recipe.table
    if table is None or claim.kind != "order" or claim.metric or not {claim.one, other} <= table.values.keys():
        return BETTER
    return table.ahead(claim.one, other)


def _said(measured: Sequence[Measured]) -> str:
    """The comparison, or of several the one in which the first is least ahead."""
    some = [one for one in measured if not math.isnan(one.ahead)]
    if not some:
        return ""
    least = min(some, key=lambda one: one.ahead)
    return least.said() if len(measured) == 1 else f"least ahead of {least.pair.other}, {least.said()}"


def _from_the_table(claim: Claim, recipe: Recipe) -> str:
    table = recipe.table
    if table is None or claim.kind not in ("order", "best") or claim.metric:
        return ""
    if not {claim.one, *claim.than} <= table.values.keys():
        return ""
    best = min(claim.than, key=lambda name: table.ahead(claim.one, name))
    text = f"{table.value(claim.one)} against {table.value(best)}: {plain(table.difference(claim.one, best))}"
    return text + (f" ({best})" if len(claim.than) > 1 else "")


def _value(claim: Claim, recipe: Recipe, measurements: Measurements) -> dict[str, Any]:
    """Whether a network reaches a value, over seeds."""
    metric = measurements.metric(claim)
    values, noted = (measurements.values(claim, name) for name in (metric.on_test, metric.best_on_test))
    honest, paper = (metric.interval(of) for of in (values, noted))
    found_paper = {
        "as_the_paper": metric.mean(paper),
        "verdict_as_the_paper": _reaches(paper, claim, metric, len(noted)),
    }
    verdict = _reaches(honest, claim, metric, len(values))
    return {
        "honest": metric.mean(honest) if values else "",
        "verdict": verdict,
        "beside": _could_see(metric, [published.could_see(values)], honest.mean) if verdict == OPEN else "",
        "seeds": len(values),
        "why": "" if len(values) > 1 else f"fewer than 2 seeds of {claim.one} are stored",
        **(found_paper if noted else {}),
    }


def _reaches(found: Interval, claim: Claim, metric: Metric, seeds: int) -> str:
    """Whether all of an interval is as good as the claim's value, none of it, or a part."""
    assert claim.at_least is not None
    if seeds < 2:
        return NOT_TESTED
    worst, best = sorted(metric.goodness(end - claim.at_least) for end in (found.low, found.high))
    return CONFIRMED if worst >= 0 else CONTRADICTED if best < 0 else OPEN


def _layer(claim: Claim, recipe: Recipe, measurements: Measurements) -> dict[str, Any]:
    for row in published.layer_rows(recipe, measurements.rows.plan):
        if int(row.layer) in claim.layers and row.claim == claim.extreme:
            text = f"largest {row.winner}; lead of the named {row.margin}"
            return _lead(text, row.verdict, LEAD, row.detectable, measurements)
    return {"why": "no weights are stored"}


def _layer_words(claim: Claim, recipe: Recipe) -> str:
    rows = recipe.published_layers()
    words = [r["words"] for r in rows if int(r["layer"]) in claim.layers and r["claim"] == claim.extreme]
    return claim.words or next(iter(words), "")


def _share(claim: Claim, recipe: Recipe, measurements: Measurements) -> dict[str, Any]:
    """Whether each of the candidates weighs less (or more) than an equal share, in every one of the layers."""
    sites = _sites(claim, measurements)
    if not sites:
        return {"why": "no weights are stored"}
    equal = 1 / len(sites[0].candidates)
    above = claim.extreme == "largest"
    farthest, word = (min, "least") if above else (max, "largest")
    seeds = range(len(sites[0].seeds))
    weights = [farthest(s.seeds[seed].weights[name] for s in sites for name in claim.candidates) for seed in seeds]
    ahead = [(value - equal) if above else (equal - value) for value in weights]
    found = WEIGHT.difference_interval(ahead)
    share = WEIGHT.mean(WEIGHT.interval(weights))
    text = f"the {word} of them weighs {share}, an equal share is {WEIGHT.value(equal)}"
    return _lead(text, published.lead_verdict(found), WEIGHT, published.could_see(ahead), measurements)


def _depth(claim: Claim, recipe: Recipe, measurements: Measurements) -> dict[str, Any]:
    """Whether a candidate weighs more in the last of the layers than in the first."""
    sites = _sites(claim, measurements)
    if not sites:
        return {"why": "no weights are stored"}
    first, last = sites[0], sites[-1]
    (name,) = claim.candidates
    rises = [b.weights[name] - a.weights[name] for a, b in zip(first.seeds, last.seeds, strict=True)]
    rise = WEIGHT.difference_interval(rises)
    ends = f"{name} from {WEIGHT.value(first.weights[name])} to {WEIGHT.value(last.weights[name])}"
    text = f"{ends}: {plain(WEIGHT.mean_difference(rise))}"
    return _lead(text, published.lead_verdict(rise), WEIGHT, published.could_see(rises), measurements)


def _sites(claim: Claim, measurements: Measurements) -> list[Any]:
    plan = measurements.rows.plan
    sites = plan.sites if plan else ()
    return [sites[layer - 1] for layer in claim.layers] if sites and max(claim.layers) <= len(sites) else []


def _lead(text: str, verdict: str, metric: Metric, detectable: float, measurements: Measurements) -> dict[str, Any]:
    tested = verdict != "not tested"
    plan = measurements.rows.plan
    return {
        "honest": text,
        "verdict": verdict if tested else NOT_TESTED,
        "beside": _could_see(metric, [detectable]) if verdict == OPEN else "",
        "seeds": plan.seeds if plan else 0,
        "why": "" if tested else "fewer than 2 seeds are stored",
    }


def _scale(claim: Claim, recipe: Recipe, rows: Rows) -> str:
    """The network, how much data was used, and how much the paper had."""
    data, there, settings = rows.study.data, recipe.published, rows.study.settings
    form = "" if recipe.is_full(settings) else ", scaled"
    here = f"{settings.network}{form}, {data.name}: {data.train + data.validation:,} training and {data.test:,} test "
    here += data.unit
    if claim.data:
        return f"{here}; the paper: {claim.data}"
    if there is None:
        return f"{here}; the paper: not known"
    amounts = [f"{count:,}" for count in (there.train_images, there.test_images) if count is not None]
    return f"{here}; the paper: {', '.join([there.data, *([listed(amounts)] if amounts else [])])}"
