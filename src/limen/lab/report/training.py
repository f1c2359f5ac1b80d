"""How much training an activation needs to the baseline's score, and how much time: in a sentence and in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from limen.lab.numerals import MISSING, between, fixed, with_span
from limen.lab.records import SummaryRow

NOTE = (
    "How much training it takes to a validation score, beside the baseline’s run of the same seed. The score is the "
    "best that both runs reach: the baseline’s own best where it was reached, else the other’s. Epochs are counted on "
    "straight lines between the epochs’ scores, from the first on; ratios are geometric means with 95 % intervals over "
    "seeds, and the time is that of the epochs times that of a step. Where fewer than half of the runs reached the "
    "baseline’s score, a bound stands in the place of the time: those that never had it count as if they had had it "
    "after their last epoch."
)


@dataclass(frozen=True)
class TrainingLine:
    """One row of the table, as text."""

    activation: str
    reached: str
    epochs: str
    epochs_span: str
    step: str
    time: str
    time_span: str


def training_lines(rows: Sequence[SummaryRow]) -> list[TrainingLine]:
    """Of every activation whose curves say it."""
    return [_line(row) for row in rows if row.reach_pairs]


def _line(row: SummaryRow) -> TrainingLine:
    bound = row.epochs_at_least * row.step_ratio
    mostly = _mostly_reached(row)
    return TrainingLine(
        activation=row.activation,
        reached=f"{row.reached} of {row.reach_pairs}",
        epochs=fixed(row.epochs_ratio),
        epochs_span=_span(row.epochs_ratio_low, row.epochs_ratio_high),
        step=fixed(row.step_ratio),
        time=fixed(row.time_ratio) if mostly else _more_than(bound),
        time_span=_span(row.time_ratio_low, row.time_ratio_high) if mostly else "",
    )


def sentence(row: SummaryRow) -> str:
    """What it takes to the baseline's score, in words.

    >>> row = SummaryRow.model_construct(
    ...     activation="asau", baseline="relu", reach_pairs=5, reached=5, epochs_ratio=0.8, epochs_ratio_low=0.65,
    ...     epochs_ratio_high=0.99, epochs_at_least=0.8, step_ratio=1.1, time_ratio=0.88, time_ratio_low=0.72,
    ...     time_ratio_high=1.09)
    >>> print(sentence(row))
    asau reaches relu’s score in 0.80 times the epochs (0.65 to 0.99) at 1.10 times a step: 0.88 of the time (0.72 to
    1.09).
    """
    name, base = row.activation, row.baseline
    epochs = with_span(f"{fixed(row.epochs_ratio)} times", _span(row.epochs_ratio_low, row.epochs_ratio_high))
    epochs = epochs.replace(" times", " times the epochs", 1)
    seeds = "" if row.reached == row.reach_pairs else f", in {row.reached} of {row.reach_pairs} seeds,"
    if _mostly_reached(row):
        return f"{name} reaches {base}’s score{seeds} in {epochs}{_in_time(row)}."
    short = row.reach_pairs - row.reached
    bound = row.epochs_at_least * (row.step_ratio if math.isfinite(row.step_ratio) else 1.0)
    what = "time" if math.isfinite(row.step_ratio) else "epochs"
    return (
        f"{name} does not reach {base}’s score in {short} of {row.reach_pairs} seeds: it takes more than "
        f"{fixed(bound)} of the {what}. What both reach it has in {epochs}{_in_time(row)}."
    )


def _in_time(row: SummaryRow) -> str:
    alone = "; one seed has no interval" if row.reach_pairs == 1 else ""
    if not math.isfinite(row.time_ratio):
        return f" (a step was not timed){alone}"
    time = with_span(f"{fixed(row.time_ratio)} of the time", _span(row.time_ratio_low, row.time_ratio_high))
    return f" at {fixed(row.step_ratio)} times a step: {time}{alone}"


def _mostly_reached(row: SummaryRow) -> bool:
    return 2 * row.reached >= row.reach_pairs


def _span(low: float, high: float) -> str:
    return between(fixed(low), fixed(high))


def _more_than(bound: float) -> str:
    return f"> {fixed(bound)}" if math.isfinite(bound) else MISSING
