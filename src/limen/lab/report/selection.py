"""What a selection chose, as the page shows it: a row a layer, the warnings, the gap, the weights over the epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from limen.lab.numerals import MISSING, between, fixed
from limen.lab.report.baking import change_by_baking
from limen.lab.report.contents import Contents
from limen.lab.report.figures.palette import Look
from limen.lab.report.figures.svg import Picture
from limen.lab.report.figures.trajectories import candidate_looks, trajectories
from limen.lab.settings import SEARCHED
from limen.selection import Choice

BADGES = {"clear": "better", "noise": "same", "one seed": "untested"}


@dataclass(frozen=True)
class ChoiceRow:
    """One layer of the plan."""

    path: str
    winner: str
    share: str
    runner_up: str
    margin: str
    span: str
    entropy: str
    agreement: str
    verdict: str
    badge: str


@dataclass(frozen=True)
class SelectionSection:
    """Everything the page says about a selection."""

    rule: str
    rows: tuple[ChoiceRow, ...]
    warnings: tuple[str, ...]
    gap: str
    looks: dict[str, Look]
    pictures: tuple[Picture, ...]


def selection(study: Contents) -> SelectionSection | None:
    """Describe the plan, or None where the study is no selection or no search has finished."""
    if study.plan is None:
        return None
    runs = study.finished(SEARCHED)
    return SelectionSection(
        rule=study.plan.rule,
        rows=tuple(map(_row, study.plan.sites)),
        warnings=tuple(study.plan.warnings()),
        gap=_gap(study),
        looks=candidate_looks(runs),
        pictures=tuple(trajectories(runs)),
    )


def _row(choice: Choice) -> ChoiceRow:
    interval = choice.margin_interval
    count = len(choice.seeds)
    return ChoiceRow(
        path=choice.path,
        winner=choice.activation,
        share=fixed(choice.share),
        runner_up=choice.runner_up or MISSING,
        margin=fixed(choice.margin, 4, signed=True),
        span=between(*(fixed(end, 4, signed=True) for end in interval)) if interval else "",
        entropy=fixed(choice.entropy),
        agreement=f"{round(choice.agreement * count)} of {count}",
        verdict=choice.verdict,
        badge=BADGES[choice.verdict],
    )


def _gap(study: Contents) -> str:
    """The discretisation gap in a sentence."""
    measure = study.task.measure
    found = change_by_baking(measure, study.finished(SEARCHED))
    if math.isnan(found.mean):
        return ""
    span = measure.difference_span(found.low, found.high)
    within = "" if span == MISSING else f" (95 % interval {span})"
    return (
        f"Discretisation gap: replacing each trained mixture by its winner, with all weights kept, changes the "
        f"{measure.tested} by {measure.difference_said(found.mean)}{within}."
    )
