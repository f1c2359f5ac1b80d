"""What is behind the answer, in a few plain sentences, and what must be known before believing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from limen.lab.metric import NONE, Metric
from limen.lab.numerals import MISSING, fixed, probability, whole
from limen.lab.records import TORCHS_RELU, SummaryRow
from limen.lab.report.apart import apart
from limen.lab.report.contents import Contents
from limen.lab.report.growth import growth
from limen.lab.report.looking import looked_at
from limen.lab.report.wording import counted, listed
from limen.lab.statistics import word_of

NOT_FOUND = "no detectable difference"
DECIDED = ("better", "worse")
TESTED = (*DECIDED, NOT_FOUND, "equivalent", "undecided")


def paragraph(study: Contents) -> Markup:
    """What is behind the answer: sizes, intervals, what could have been seen, costs, failures."""
    if not any(math.isfinite(row.mean) for row in study.summary):
        return Markup("")
    parts = (
        *(_differences, _not_found, _equivalent, _undecided, _could_see, _untested),
        *(_reference, _cost, _failures),
    )
    return Markup(" ").join(sentence for part in parts for sentence in part(study))


def notices(study: Contents) -> list[str]:
    """Warnings that change how every number on the page should be read."""
    settings = study.settings
    found = []
    if study.quick:
        found.append(
            f"Scaled down. This is the quick form of the recipe {study.recipe}: it shows that everything runs, and its "
            "numbers are not to be compared with the published ones."
        )
    if grown := growth(study.asked, any_time=settings.max_seeds is not None):
        found.append(grown)
    found += looked_at(study.asked, settings, study.metric, study.runs)
    found += apart(study.runs, study.metric, settings)
    if settings.test_chooses:
        found.append(
            "The test set chose the epoch. Under the paper’s protocol every run reports its best epoch as judged "
            "on the test set itself, so the numbers are optimistic: expect less on new data."
        )
    if settings.limit_train is not None:
        found.append(
            f"A subset was used. Training saw at most {whole(settings.limit_train)} {study.data.unit} of the training "
            "set; with all of it, both the numbers and the ranking may differ."
        )
    if len(study.drawn) < len(study.activations):
        found.append(
            f"Figures show {len(study.drawn)} of {whole(len(study.activations))} activations: the baseline and those "
            "with the best means. The tables have all."
        )
    found += study.data.notes
    if settings.limit_test is not None:
        found.append(f"Testing used at most {whole(settings.limit_test)} {study.data.unit} of the test set.")
    return found


def _name(activation: str) -> Markup:
    return Markup("<code>{}</code>").format(activation)


def names(rows: Sequence[SummaryRow]) -> Markup:
    """Activations, as a sentence lists them."""
    return Markup(listed([_name(row.activation) for row in rows]))


def baseline(study: Contents) -> Markup:
    """What the others are compared with."""
    return _name(study.summary[0].baseline)


def others(study: Contents, wanted: Callable[[SummaryRow], bool] = lambda row: True) -> list[SummaryRow]:
    """The rows of activations that are compared with the baseline, those that are wanted."""
    found = (row for row in study.summary if row.activation != row.baseline and row.verdict != "reference")
    return [row for row in found if wanted(row)]


def _differences(study: Contents) -> list[Markup]:
    """One sentence for each activation that is detectably better or worse, the best first."""
    goodness = study.metric.goodness
    found = others(study, lambda row: word_of(row.verdict) in DECIDED)
    decided = sorted(found, key=lambda row: -goodness(row.difference))
    return [_difference(row, study.metric) for row in decided]


def _difference(row: SummaryRow, metric: Metric) -> Markup:
    p = probability(row.p_holm)
    amount = f"{metric.value(abs(row.difference), beside=row.mean)} {metric.difference_unit}".rstrip()
    return Markup("{} is <strong>{}</strong> than {} by {} of {} ({}Holm-corrected p {}).").format(
        _name(row.activation),
        word_of(row.verdict),
        _name(row.baseline),
        amount,
        metric.tested,
        _interval(row, metric),
        (p if p.startswith("<") else f"= {p}").replace(" ", "\N{NO-BREAK SPACE}"),
    )


def _interval(row: SummaryRow, metric: Metric) -> str:
    """The interval of the size of a difference."""
    ends = (row.difference_low, row.difference_high)
    low, high = ends if row.difference >= 0 else (-ends[1], -ends[0])
    span = metric.span(low, high, beside=row.mean)
    return "" if span == MISSING else f"95\N{NO-BREAK SPACE}% interval {span}, "


def _not_found(study: Contents) -> list[Markup]:
    rows = others(study, lambda row: row.verdict == NOT_FOUND)
    if not rows or len(rows) == len(others(study)):
        return []
    return [Markup("No detectable difference from {} for {}.").format(baseline(study), names(rows))]


def _equivalent(study: Contents) -> list[Markup]:
    rows = others(study, lambda row: word_of(row.verdict) == "equivalent")
    if not rows:
        return []
    return [Markup("Equivalent to {} within {}: {}.").format(baseline(study), margin(study), names(rows))]


def _undecided(study: Contents) -> list[Markup]:
    """What has no verdict yet, each with what it would take."""
    rows = others(study, lambda row: word_of(row.verdict) == "undecided")
    if not rows:
        return []
    each = [
        Markup("{} ({})").format(_name(row.activation), row.verdict.removeprefix("undecided").strip(" :()"))
        for row in rows
    ]
    return [Markup("Undecided against {}: {}.").format(baseline(study), Markup(listed(each)))]


def margin(study: Contents) -> str:
    """What matters, with its unit; a dash where nothing was said."""
    given = study.settings.margin
    return f"{given:g} {study.metric.difference_unit}".rstrip() if given is not None else MISSING


def _could_see(study: Contents) -> list[Markup]:
    """How large a difference must be for so many seeds to show it, where none was shown."""
    open_rows = others(study, lambda row: word_of(row.verdict) in (NOT_FOUND, "undecided"))
    metric = study.metric
    rows = [row for row in open_rows if math.isfinite(row.detectable)]
    if not rows:
        return []
    sizes = [Markup("{} ({})").format(size(row, metric), _name(row.activation)) for row in rows]
    text = Markup("{} show a difference in 80 of 100 studies from {} on").format(_as_many(rows), Markup(listed(sizes)))
    blind = [row for row in rows if row.detectable > row.margin]
    if blind:
        text += Markup(": more than the {} that matter, so smaller ones could not have been seen").format(margin(study))
    return [text + "."]


def size(row: SummaryRow, metric: Metric) -> str:
    """The smallest difference that can be seen, with its unit."""
    text = metric.detectable(row.detectable, beside=row.mean)
    return f"{text} {metric.difference_unit}".rstrip() if text != NONE else NONE


def _as_many(rows: Sequence[SummaryRow]) -> str:
    """How many seeds the rows have, as a subject.

    >>> from types import SimpleNamespace
    >>> _as_many([SimpleNamespace(runs=3)]), _as_many([SimpleNamespace(runs=3), SimpleNamespace(runs=12)])
    ('3 seeds', '3 to 12 seeds')
    """
    fewest, most = min(row.runs for row in rows), max(row.runs for row in rows)
    return counted(most, "seed") if fewest == most else f"{fewest} to {counted(most, 'seed')}"


def _untested(study: Contents) -> list[Markup]:
    """Activations without a test, by reason; a study of one seed has said so already."""
    if len(study.settings.seeds) == 1:
        return []
    rows = others(study, lambda row: word_of(row.verdict) not in TESTED)
    reasons = dict.fromkeys(row.verdict for row in rows)
    return [
        Markup("Not tested: {} ({}).").format(names([row for row in rows if row.verdict == reason]), reason)
        for reason in reasons
    ]


def _reference(study: Contents) -> list[Markup]:
    """What needs no network, and how many of the activations' means are better than it."""
    metric = study.metric
    found = []
    for row in study.summary:
        if row.verdict != "reference":
            continue
        known = [other for other in study.summary if other is not row and math.isfinite(other.mean)]
        ahead = sum(metric.goodness(other.mean) > metric.goodness(row.mean) for other in known)
        verb = "is" if len(known) == 1 else "are"
        how_many = f"{ahead} of {counted(len(known), 'activation')} {verb}"
        found.append(
            Markup("Without any network, {} reaches a {} of {}; {} better in the mean.").format(
                _name(row.activation), metric.tested, metric.said(row.mean), how_many
            )
        )
    return found


def _cost(study: Contents) -> list[Markup]:
    ratios = {row.activation: row.ratio for row in study.costs if row.activation != TORCHS_RELU} or {
        row.activation: row.ms_ratio for row in study.summary
    }
    known = sorted((ratio, name) for name, ratio in ratios.items() if math.isfinite(ratio))
    if len(known) < 2:
        return []
    (least, cheapest), (most, dearest) = known[0], known[-1]
    text = Markup("A training step takes from {} times torch.nn.ReLU’s time ({}, the cheapest) to {} times ({}).")
    return [text.format(fixed(least), _name(cheapest), fixed(most), _name(dearest))]


def _failures(study: Contents) -> list[Markup]:
    failed = study.failures
    if not failed:
        return []
    names = [_name(name) for name in dict.fromkeys(run.activation for run in failed)]
    text = Markup("<strong>{} of {} failed</strong> ({}) and {} left out of the numbers.")
    verb = "is" if len(failed) == 1 else "are"
    return [text.format(len(failed), counted(len(study.runs), "run"), Markup(listed(names)), verb)]
