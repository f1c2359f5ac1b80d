"""The answer of a study: what its evidence says, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from limen.lab.metric import NONE
from limen.lab.records import SummaryRow
from limen.lab.report.contents import Contents
from limen.lab.report.verdict import DECIDED, NOT_FOUND, TESTED, baseline, margin, names, others, size
from limen.lab.report.wording import counted, listed
from limen.lab.statistics import word_of

MOST_NAMED = 5
"""Activations of one verdict that are named."""
KINDS = (
    ("better", "is", "are", "<strong>better</strong>", "than"),
    ("worse", "is", "are", "<strong>worse</strong>", "than"),
    ("equivalent", "is", "are", "equivalent", "to"),
    ("undecided", "is", "are", "undecided", "against"),
    (NOT_FOUND, "does", "do", "not differ detectably", "from"),
    ("", "was", "were", "not tested", "against"),
)
"""Of each kind of verdict: its verb, what is said, and the word before the baseline."""


def answer(study: Contents) -> Markup:
    """What the evidence says, in one sentence; activation names are set as code."""
    if not any(math.isfinite(row.mean) for row in study.summary):
        return Markup("Every run failed; there is no result to compare." if study.runs else "Nothing was run yet.")
    compared = others(study)
    if not compared:
        alone = Markup("Only {} was trained, so there is nothing to compare it with.")
        return alone.format(names(study.summary))
    if len(study.settings.seeds) == 1:
        single = "With one seed nothing can be tested: every number is a single draw, and any difference may be luck."
        return Markup(single)
    if all(row.verdict == NOT_FOUND for row in compared):
        none = Markup("Over {}, no activation differs detectably from {} in {}{}.")
        return none.format(_seeds(study), baseline(study), study.metric.tested, _unseen(study, compared))
    return Markup("Over {}, {}.").format(_seeds(study), Markup("; ").join(_clauses(study)))


def _clauses(study: Contents) -> list[Markup]:
    """A clause for each kind of verdict; the first says against what, and in what."""
    found: list[Markup] = []
    for word, one, several, what, against in KINDS:
        rows = [row for row in others(study) if _kind(row) == word]
        if rows:
            of = "" if found else Markup(" {} {} in {}").format(against, baseline(study), study.metric.tested)
            verb = one if len(rows) == 1 else several
            after = _clause_end(study, word, rows)
            found.append(Markup("{} {} {}{}{}").format(_some(rows), verb, Markup(what), of, after))
    return found


def _kind(row: SummaryRow) -> str:
    word = word_of(row.verdict)
    return word if word in TESTED else ""


def _some(rows: Sequence[SummaryRow]) -> Markup:
    """Names, or how many there are of them."""
    return names(rows) if len(rows) <= MOST_NAMED else Markup(counted(len(rows), "activation"))


def _clause_end(study: Contents, word: str, rows: Sequence[SummaryRow]) -> str:
    """How large, where few are named; within what; what could have been missed."""
    metric = study.metric
    if word in DECIDED and len(rows) <= MOST_NAMED:
        sizes = [metric.value(abs(row.difference), beside=row.mean) for row in rows]
        return f" (by {listed(sizes)} {metric.difference_unit}".rstrip() + ")"
    if word == "equivalent":
        return f" within {margin(study)}"
    return _unseen(study, rows) if word == NOT_FOUND else ""


def _unseen(study: Contents, rows: Sequence[SummaryRow]) -> str:
    """How large a difference may be that so many seeds miss too often, in more than 20 of 100 studies."""
    sizes = [row for row in rows if math.isfinite(row.detectable)]
    if not sizes:
        return ""
    largest = size(max(sizes, key=lambda row: row.detectable), study.metric)
    return f" (a true difference of {'any size' if largest == NONE else largest} could be missed)"


def _seeds(study: Contents) -> str:
    if study.settings.max_seeds is not None:
        return f"up to {counted(max(row.runs for row in study.summary), 'seed')}"
    return counted(len(study.settings.seeds), "seed")
