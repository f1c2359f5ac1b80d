"""What a suite found, in a few plain sentences; the page and the terminal say the same."""

from __future__ import annotations

import math

from limen.lab.numerals import MISSING, between, fixed, probability, with_span
from limen.lab.report.suite.contents import SuiteContents, SuiteLine
from limen.lab.report.wording import counted, listed

DECIDED = ("better", "worse")
NOT_FOUND = "no detectable difference"


def sentences(suite: SuiteContents) -> list[str]:
    """All that is said: the answer, its scope and what it costs, what must be known before believing it."""
    return [*answers(suite), *scope_and_costs(suite), *notices(suite)]


def answers(suite: SuiteContents) -> list[str]:
    """How much error each activation makes, the best first."""
    if not suite.counted:
        return [f"None of {counted(len(suite.problems), 'problem')} has a result to compare."]
    return [_opening(suite), *_each(suite)]


def scope_and_costs(suite: SuiteContents) -> list[str]:
    """What is inferred, from what; and how much training it takes."""
    return [*_scope(suite), *_costs(suite)] if suite.counted else []


def notices(suite: SuiteContents) -> list[str]:
    """What is missing, and what the intervals do not know."""
    return [*_failures(suite), *(_caveats(suite) if suite.counted else ())]


def _opening(suite: SuiteContents) -> str:
    whole, used = len(suite.problems), len(suite.counted)
    over = f"all {whole} problems" if used == whole else f"{used} of {whole} problems"
    if whole == 1:
        over = "one problem"
    fewest, most = min(one.seeds for one in suite.counted), max(one.seeds for one in suite.counted)
    seeds = counted(most, "seed") if fewest == most else f"{fewest} to {counted(most, 'seed')}"
    measured = f"in percent of {suite.baseline}’s error" if suite.relative else "in points"
    return f"Over {over}, {seeds} of each, with errors {measured}:"


def _each(suite: SuiteContents) -> list[str]:
    """A sentence an activation, the best first."""
    ordered = sorted(suite.lines, key=lambda line: (math.isnan(line.change), line.change))
    return [_line(line, suite) for line in ordered]


def _line(line: SuiteLine, suite: SuiteContents) -> str:
    if not math.isfinite(line.change):
        return f"{line.activation} could not be compared ({line.verdict})."
    more = "less" if line.change < 0 else "more"
    size = f"makes {fixed(abs(line.change), 1)} {suite.unit} {more} error than {line.baseline}"
    if fixed(line.change, 1) == fixed(0.0, 1):
        size = f"makes as much error as {line.baseline}"
    if line.verdict not in (*DECIDED, NOT_FOUND):
        return f"{line.activation} {size}; {line.verdict}."
    fewer = "" if line.problems == len(suite.counted) else f", over {line.problems} of them"
    p = probability(line.p_holm)
    told = f"{span(line.change_low, line.change_high)}, p {p if p.startswith('<') else f'= {p}'} after Holm"
    return f"{line.activation} {size} ({told}{fewer}): {line.verdict}."


def span(low: float, high: float, decimals: int = 1) -> str:
    """An interval of changes, with signs.

    >>> span(-8.12, 2.0)
    '−8.1 to +2.0'
    """
    return between(fixed(low, decimals, signed=True), fixed(high, decimals, signed=True))


def _scope(suite: SuiteContents) -> list[str]:
    """What is inferred, from what."""
    these = "These intervals are about these problems: their seeds are the replicates."
    like = [line for line in suite.lines if math.isfinite(line.like_low)]
    if not like:
        return [these]
    each = [f"{line.activation} {span(line.like_low, line.like_high)} {suite.unit}" for line in like]
    return [f"{these} For problems like these, which are then the replicates, they are {listed(each)}."]


def _failures(suite: SuiteContents) -> list[str]:
    if not suite.failed:
        return []
    each = [f"{problem.name} ({problem.failure})" for problem in suite.failed]
    verb = "is" if len(each) == 1 else "are"
    return [f"{len(each)} of {counted(len(suite.problems), 'problem')} {verb} in no number: {listed(each)}."]


def _costs(suite: SuiteContents) -> list[str]:
    """How much of the baseline's training time it takes to its score."""
    timed = [line for line in suite.lines if line.reach_pairs]
    if not timed:
        return []
    each = [f"{line.activation} {with_span(*time_said(line))}" for line in sorted(timed, key=_time)]
    return [f"To {suite.baseline}’s validation score, parts of its training time: {listed(each)}."]


def _time(line: SuiteLine) -> float:
    return line.time_ratio


def time_said(line: SuiteLine) -> tuple[str, str]:
    """The part of the baseline’s training time with its interval, or a bound where most runs never had the score."""
    if not line.reach_pairs:
        return MISSING, MISSING
    if 2 * line.reached < line.reach_pairs:
        return f"more than {fixed(line.time_at_least)}", f"{line.reached} of {line.reach_pairs} runs reached it"
    return fixed(line.time_ratio), between(fixed(line.time_ratio_low), fixed(line.time_ratio_high))


def _caveats(suite: SuiteContents) -> list[str]:
    found = []
    missing = [problem.name for problem in suite.counted if problem.missing]
    if missing:
        found.append(f"Runs are still to come in {listed(missing)}.")
    sequential = [problem.name for problem in suite.counted if problem.sequential]
    if sequential:
        found.append(
            f"Results decided how many seeds there are in {listed(sequential)}, which the intervals over all problems, "
            "of Student’s t, do not know; each problem’s own verdict does."
        )
    tuned = [problem.name for problem in suite.counted if problem.tuned]
    if tuned:
        found.append(
            f"Activations were tuned in {listed(tuned)}; all numbers here are of the rates that they share, and each "
            "problem’s own report has both answers."
        )
    if all(problem.seeds == 1 for problem in suite.counted):
        found.append("With one seed nothing can be tested: any difference may be luck.")
    return found
