"""The page of a suite: one HTML file that needs no other, with links to the problems' own pages beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from limen.lab.numerals import between, fixed, probability
from limen.lab.report.document import document, template
from limen.lab.report.figures.palette import looks
from limen.lab.report.suite.contents import Cell, SuiteContents, SuiteLine
from limen.lab.report.suite.figures import changes, profiles, ranking
from limen.lab.report.suite.sentences import answers, notices, scope_and_costs, span, time_said
from limen.lab.report.tables import BADGES
from limen.lab.statistics import word_of


@dataclass(frozen=True)
class Row:
    """One activation in the table, as text."""

    activation: str
    change: str
    change_span: str
    like_span: str
    p: str
    verdict: str
    badge: str
    sign: str
    superior: str
    superior_span: str
    rank: str
    time: str
    time_span: str
    problems: str


def render(suite: SuiteContents) -> str:
    """The page; the same contents give the same page, to the byte."""
    page = template("suite.html.j2").render(
        document=document(),
        sections=(),
        suite=suite,
        answers=answers(suite),
        more=scope_and_costs(suite),
        notices=notices(suite),
        rows=[_row(line) for line in suite.lines],
        cells={problem.name: _cells(suite, problem.cells) for problem in suite.counted},
        baselines={one.name: one.measure.said(one.baseline) for one in suite.counted if one.measure},
        changes=changes(suite),
        ranking=ranking(suite),
        profiles=profiles(suite),
        looks=looks(suite.activations, suite.baseline),
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _row(line: SuiteLine) -> Row:
    badge, sign = BADGES.get(line.verdict, ("untested", "?"))
    time, ends = time_said(line)
    return Row(
        activation=line.activation,
        change=fixed(line.change, 1, signed=True),
        change_span=span(line.change_low, line.change_high),
        like_span=span(line.like_low, line.like_high),
        p=probability(line.p_holm),
        verdict=line.verdict,
        badge=badge,
        sign=sign,
        superior=fixed(100 * line.superior, 0),
        superior_span=between(fixed(100 * line.superior_low, 0), fixed(100 * line.superior_high, 0)),
        rank=fixed(line.rank),
        time=time,
        time_span=ends,
        problems=str(line.problems),
    )


def _cells(suite: SuiteContents, found: Mapping[str, Cell]) -> list[tuple[str, str, str, str, str]]:
    """By activation: the change, its interval, the badge, its sign, what is to be known of the runs."""
    cells = []
    for line in suite.lines:
        cell = found[line.activation]
        badge, sign = BADGES.get(word_of(cell.verdict), ("untested", "?"))
        failed = f"{cell.failed} failed" if cell.failed else ""
        ends = span(cell.change.low, cell.change.high)
        cells.append((fixed(cell.change.mean, 1, signed=True), ends, badge, sign, failed))
    return cells
