"""What was found: the verdict of each of several comparisons, corrected together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from limen.lab.statistics.correction import holm, one_of_two
from limen.lab.statistics.equivalence import tost
from limen.lab.statistics.intervals import LEVEL
from limen.lab.statistics.paired import Comparison
from limen.lab.statistics.planning import further_seeds
from limen.lab.statistics.power import detectable
from limen.lab.statistics.sequential import LookedAt, look

ALPHA = 1 - LEVEL


def word_of(verdict: str) -> str:
    """What a verdict begins with, where that says it: better, worse, equivalent, undecided; else all of it.

    >>> word_of("equivalent within 0.5"), word_of("better, by less than 0.5"), word_of("no detectable difference")
    ('equivalent', 'better', 'no detectable difference')
    """
    first = re.split("[:, ]", verdict, maxsplit=1)[0]
    return first if first in ("better", "worse", "equivalent", "undecided") else verdict


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p of several comparisons (Holm 1979) and say for each what was found, in its own direction.

    Only what could be tested counts as a comparison.
    """
    tested = [index for index, comparison in enumerate(comparisons) if not math.isnan(comparison.p)]
    adjusted = dict(zip(tested, holm([comparisons[index].p for index in tested]), strict=True))
    level = ALPHA / max(1, len(tested))
    return [
        comparison if index not in adjusted else _judged(_could_see(comparison, level), adjusted[index])
        for index, comparison in enumerate(comparisons)
    ]


def or_equivalent(comparisons: Sequence[Comparison], margins: Sequence[float | None]) -> list[Comparison]:
    """Comparisons that :func:`correct` has judged, those without a difference "equivalent" where they are so.

    Each within its own margin, if it has one. The p values of equivalence are corrected among themselves (Holm), so
    that what was detected stays as it was: 5 % for any false difference, and 5 % for any false equivalence.
    """
    tested = [
        place for place, margin in enumerate(margins) if margin is not None and not math.isnan(comparisons[place].p)
    ]
    adjusted = holm([tost(comparisons[place].differences, margins[place] or 0.0) for place in tested])
    found = list(comparisons)
    for place, p in zip(tested, adjusted, strict=True):
        near = p < ALPHA and found[place].verdict not in ("better", "worse")
        verdict = "equivalent" if near else found[place].verdict
        found[place] = replace(found[place], p_equivalence=p, verdict=verdict)
    return found


def decide(comparisons: Sequence[Comparison], margin: float, said: str) -> list[Comparison]:
    """Better, worse, equivalent within the margin or undecided, for each; the margin is in the unit of the values.

    Difference by the paired t test, equivalence by two one-sided ones. Of the two null hypotheses of a comparison at
    most one is true, and :func:`.one_of_two` corrects both for all comparisons together: in at most 5 of 100 studies
    any verdict is false (a three-way partition: Goeman, Solari and Stijnen 2010). ``said`` is the margin as it is
    written.
    """

    def look_once(comparison: Comparison) -> LookedAt:
        upward = comparison.difference.mean > 0
        return LookedAt(_p_of_difference(comparison), tost(comparison.differences, margin), upward)

    return _three_way(comparisons, margin, said, look_once)


def decide_sequentially(comparisons: Sequence[Comparison], margin: float, said: str) -> list[Comparison]:
    """The same, by what holds at any time: the study may be looked at after every seed, and stopped at any."""
    return _three_way(comparisons, margin, said, lambda one: look(one.differences, margin))


def _p_of_difference(comparison: Comparison) -> float:
    """The t test's, or without any spread the exact sign test's."""
    if not math.isnan(comparison.p):
        return comparison.p
    return 0.5 ** (comparison.pairs - 1)


def _three_way(
    comparisons: Sequence[Comparison], margin: float, said: str, looking: Callable[[Comparison], LookedAt]
) -> list[Comparison]:
    tested = [place for place, comparison in enumerate(comparisons) if comparison.pairs > 1]
    looks = [looking(comparisons[place]) for place in tested]
    of_zero, of_margin = one_of_two([one.p for one in looks], [one.p_equivalence for one in looks])
    level = ALPHA / max(1, len(tested))
    found = list(comparisons)
    for place, one, p_holm, p_equivalence in zip(tested, looks, of_zero, of_margin, strict=True):
        known = replace(comparisons[place], p=one.p, p_holm=p_holm, p_equivalence=p_equivalence)
        detected = "better" if one.upward == known.higher_is_better else "worse"
        found[place] = _placed(_could_see(known, level), detected, margin, level, said)
    return [
        replace(one, verdict=one.verdict.replace("not tested", "undecided")) if one.pairs < 2 else one for one in found
    ]


def _could_see(comparison: Comparison, level: float) -> Comparison:
    """With what the test could have seen, at the level of the first step of the correction."""
    deviation = comparison.deviation if comparison.has_spread else math.nan
    return replace(comparison, detectable=detectable(deviation, comparison.pairs, level))


def _judged(comparison: Comparison, p_holm: float) -> Comparison:
    better = (comparison.difference.mean > 0) == comparison.higher_is_better
    detected = "better" if better else "worse"
    return replace(comparison, p_holm=p_holm, verdict=detected if p_holm < ALPHA else "no detectable difference")


def _placed(comparison: Comparison, detected: str, margin: float, level: float, said: str) -> Comparison:
    apart, near = comparison.p_holm < ALPHA, comparison.p_equivalence < ALPHA
    if apart:
        verdict = detected + (f", by less than {said}" if near else "")
    elif near:
        verdict = f"equivalent within {said}"
    else:
        verdict = f"undecided ({_still_needed(comparison, margin, level)})"
    return replace(comparison, verdict=verdict)


def _still_needed(comparison: Comparison, margin: float, level: float) -> str:
    """How many more seeds are expected to decide."""
    if not comparison.has_spread:
        return "equal in every seed" if comparison.differences[0] == 0 else "no spread between seeds"
    mean = sum(comparison.differences) / comparison.pairs
    more = further_seeds(mean, comparison.deviation, comparison.pairs, margin, level)
    return "more seeds than 10,000" if more is None else f"about {more:,} more seed{'s' * (more > 1)}"
