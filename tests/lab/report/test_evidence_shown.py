"""Verdicts with a margin, and what could have been seen: in the report's words, its table, and the terminal."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import pytest
from helpers_lab import briefly
from helpers_report import plain, synthetic, whole
from rich.console import Console

from limen.commands.console import summary_table
from limen.lab.metric import ACCURACY
from limen.lab.records import Asked, SummaryRow
from limen.lab.report import verdict
from limen.lab.report.answer import answer
from limen.lab.report.contents import Contents
from limen.lab.report.growth import growth
from limen.lab.report.page import render
from limen.lab.tasks import registry


def judged(verdicts: dict[str, str], detectable: float = 1.9, **settings: Any) -> Contents:
    study = synthetic(("relu", *verdicts), **settings)
    rows = tuple(
        row if row.activation == "relu"
        else row.model_copy(update={"verdict": verdicts[row.activation], "detectable": detectable, "margin": 0.5})
        for row in study.summary
    )  # fmt: skip
    return dataclasses.replace(study, summary=rows)


THREE = {"asau": "better", "ash": "equivalent within 0.5", "adact": "undecided (about 12 more seeds)"}


def test_the_paragraph_says_each_verdict_and_what_was_too_small_to_see() -> None:
    said = plain(verdict.paragraph(judged(THREE, margin=0.5)))
    assert "asau is better than relu by" in said
    assert "Equivalent to relu within 0.5 points: ash ." in said
    assert "Undecided against relu : adact (about 12 more seeds)." in said
    assert (
        "3 seeds show a difference in 80 of 100 studies from 1.90 points ( adact ) on: more than the 0.5 points that "
        "matter, so smaller ones could not have been seen."
    ) in said
    assert "Not tested" not in said


def test_what_seeds_can_see_below_the_margin_is_no_reproach() -> None:
    said = plain(verdict.paragraph(judged(THREE, detectable=0.3, margin=0.5)))
    assert "from 0.30 points ( adact ) on." in said
    assert "could not have been seen" not in said
    nothing = plain(verdict.paragraph(judged(THREE, detectable=400.0, margin=0.5)))
    assert "from none ( adact ) on: more than" in nothing


def test_without_a_margin_the_old_sentence_stands_with_what_could_be_seen() -> None:
    study = judged(dict.fromkeys(("asau", "ash"), "no detectable difference"))
    rows = tuple(row.model_copy(update={"margin": math.nan}) for row in study.summary)
    said = plain(verdict.paragraph(dataclasses.replace(study, summary=rows)))
    whole_study = dataclasses.replace(study, summary=rows)
    assert plain(answer(whole_study)) == (
        "Over 3 seeds, no activation differs detectably from relu in test accuracy (a true difference of 1.90 points "
        "could be missed)."
    )
    assert (
        "3 seeds show a difference in 80 of 100 studies from 1.90 points ( asau ) and 1.90 points ( ash ) on." in said
    )


@pytest.mark.parametrize(("settings", "words"), [
    ({}, ("corrected for the number of comparisons (Holm)", "--margin asks whether it is too small to matter")),
    ({"margin": 0.5}, ("Equivalent within 0.5 points: by two one-sided t tests", "any verdict is false")),
    ({"margin": 0.5, "max_seeds": 30}, ("until its verdict was in, 30 at most", "hold whenever one looks")),
])  # fmt: skip
def test_the_page_explains_how_it_was_judged(settings: dict[str, Any], words: tuple[str, str]) -> None:
    with briefly():
        text = whole(render(judged(THREE, **settings))).text
    assert all(word in text for word in words)
    assert "≈ equivalent within 0.5 1.90" in text
    assert "… undecided (about 12 more seeds) 1.90" in text
    assert "Could see 80 % power" in text


def row(name: str, verdict: str, detectable: float) -> SummaryRow:
    return SummaryRow(
        activation=name, runs=3, failed=0, metric="test_accuracy", mean=0.998, low=0.90, high=1.0, baseline="relu",
        difference=-0.012, difference_low=-0.5, difference_high=0.25, p=1.0, p_holm=1.0, verdict=verdict,
        detectable=detectable, margin=0.5, ms_ratio=1.234, ms_ratio_low=0.812, ms_ratio_high=12.345, ms_per_step=1.0,
        peak_memory_mb=1234.5, parameters=1,
    )  # fmt: skip


def test_the_terminals_table_fits_80_columns_with_every_verdict() -> None:
    verdicts = ("undecided (about 1,234 more seeds)", "equivalent within 0.125", "better, by less than 0.5",
                "undecided (no spread between seeds)", "undecided: no finished pair")  # fmt: skip
    rows = [row("leaky_relu", one, 12.34 if number else 400.0) for number, one in enumerate(verdicts)]
    text = io.StringIO()
    Console(file=text, width=80).print(summary_table(rows, ACCURACY, "digits · convnet"))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text.getvalue()
    words = " ".join(" ".join(line.split()) for line in lines)
    assert all(word in words for verdict in verdicts for word in verdict.split())
    assert "sees 12.34" in words
    assert "sees none" in words


def test_a_study_planned_to_be_looked_at_is_not_told_that_it_was() -> None:
    more = (Asked(when="2026-11-01T10:00:00+00:00", activations=("relu", "ash"), seeds=(0, 1)),
            Asked(when="2026-11-02T10:00:00+00:00", seeds=(2, 3)))  # fmt: skip
    assert growth(more).endswith("than the p values say.")
    assert growth(more, any_time=True).endswith("seeds 2 and 3 were added.")
    other = (more[0], Asked(when="2026-11-02T10:00:00+00:00", activations=("asau",)))
    assert growth(other, any_time=True).endswith("than the p values say.")
    study = dataclasses.replace(judged(THREE, margin=0.5), asked=more)
    assert any("p values were looked at before" in notice for notice in verdict.notices(study))
    planned = dataclasses.replace(judged(THREE, margin=0.5, max_seeds=3), asked=more)
    assert not any("looked at" in notice for notice in verdict.notices(planned))
    assert not any("looked at" in notice for notice in verdict.notices(dataclasses.replace(study, asked=other)))


@pytest.mark.parametrize("task", registry.ALL, ids=lambda task: task.name)
def test_every_measure_in_percent_has_a_margin_of_its_own_and_no_other(task: Any) -> None:
    assert task.measure.margin == (0.5 if task.measure.unit == "%" else None)
    if task.measure.margin:
        assert task.measure.stored_margin == 0.005
