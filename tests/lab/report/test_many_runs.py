"""The report of more runs than can be shown one by one: it groups, says what it leaves out, and stays small."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers_report import NAN, failed, finished, layer, synthetic, whole

from limen.lab.records import EpochRow, RunRecord
from limen.lab.report.condensing import MOST_SEEDS_WHOLE, Condensed, Curves, bare, columns
from limen.lab.report.contents import MANY, MOST_DRAWN, Contents
from limen.lab.report.figures.curves import curves
from limen.lab.report.page import MOST_FAILURES, render
from limen.lab.report.sites import Site, winners
from limen.lab.study.forms import run_row
from limen.lab.study.summary import summarise

ACTIVATIONS = ("relu", "asau", "ash", "adact")


def condensed(runs: tuple[RunRecord, ...], activations: int) -> tuple[RunRecord, ...]:
    return tuple(map(Condensed(len(runs), activations), runs))


def study_of(activations: tuple[str, ...], seeds: int) -> Contents:
    study = synthetic(activations, tuple(range(seeds)), epochs=3, paths=("a", "b"))
    return replace(study, runs=condensed(study.runs, len(activations)))


@pytest.fixture(scope="module")
def many() -> Contents:
    return study_of(ACTIVATIONS, 60)


def test_few_runs_are_kept_as_they_are() -> None:
    runs = synthetic().runs
    assert len(runs) <= MANY
    assert all(kept is run for kept, run in zip(condensed(runs, 4), runs, strict=True))


def test_what_tables_need_is_kept_of_every_run() -> None:
    runs = (*(finished("asau", seed, 2) for seed in range(MANY)), failed("asau", MANY))
    for kept in (condensed(runs, 1), tuple(map(bare, runs))):
        assert [run_row(run) for run in kept] == [run_row(run) for run in runs]
    settings, task = synthetic(("asau", "relu")).settings, synthetic().task
    assert str(summarise(task, settings, condensed(runs, 1), ())) == str(summarise(task, settings, runs, ()))


@pytest.mark.parametrize("seeds", [101, 250, 1000])
def test_so_many_curves_of_layers_are_kept(seeds: int) -> None:
    one = finished("asau", 0, 2, ("a",))
    kept = condensed(tuple(one.model_copy(update={"seed": seed}) for seed in range(seeds)), 1)
    whole_ones = [run.seed for run in kept if run.layers[0].x]
    assert MOST_SEEDS_WHOLE / 2 <= len(whole_ones) <= MOST_SEEDS_WHOLE
    assert whole_ones[0] == 0
    assert whole_ones[-1] > 0.9 * seeds
    assert all(run.layers[0].parameters == one.layers[0].parameters for run in kept)


def test_curves_are_numbers_beside_each_other() -> None:
    rows = (
        EpochRow(epoch=1, train_loss=2.0, train_score=0.5, heldout_loss=NAN, heldout_score=0.4, test_score=0.3),
        EpochRow(epoch=3, train_loss=1.0, train_score=0.6, heldout_loss=math.inf, heldout_score=0.5),
    )
    kept = Curves(rows)
    assert (len(kept), kept[1].epoch, kept[-1].train_loss, [one.epoch for one in kept[:1]]) == (2, 3, 1.0, [1])
    assert [one.train_score for one in kept] == [0.5, 0.6]
    for one, other in zip(columns(rows), columns(kept), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(Curves(())) == 0


@pytest.mark.drawn
def test_curves_are_drawn_of_all_runs() -> None:
    study = synthetic(ACTIVATIONS, tuple(range(40)), epochs=3, paths=())
    assert curves(study) == curves(replace(study, runs=condensed(study.runs, 4)))


def test_winners_of_many_seeds_are_counted() -> None:
    shapes = tuple(layer("adact", "a", seed, 0) for seed in range(120))
    said = winners(Site("a", tuple(enumerate(shapes))))
    assert "seeds)" in said
    assert len(said) < 80


@pytest.mark.drawn
def test_the_page_of_many_runs(many: Contents) -> None:
    page = render(many)
    reader = whole(page)
    assert len(page) < 250_000
    assert "a band from the lowest to the highest" in reader.text
    assert "2 layers, 60 seeds (30 of them drawn)" in reader.text
    assert "the middle half of the seeds" in reader.text
    assert "0, 1, 2, 3" in reader.text  # so few seeds are listed


def test_of_many_activations_some_are_drawn() -> None:
    names = ("relu", *(f"asau:beta={number}" for number in range(1, 40)))
    study = study_of(names, 3)
    best = max(study.summary, key=lambda row: row.mean).activation
    assert len(study.drawn) == MOST_DRAWN
    assert {"relu", best} <= set(study.drawn)
    text = whole(render(study)).text
    assert "Figures show 12 of 40 activations: the baseline and those with the best means." in text
    assert all(name in text for name in names)


def test_of_many_failures_the_first_are_listed(many: Contents) -> None:
    runs = tuple(failed("asau", seed) for seed in range(1000, 1000 + 2 * MOST_FAILURES))
    page = render(replace(many, runs=(*many.runs, *runs)))
    assert "1099" in whole(page).text  # among all runs
    text = page.partition('<section id="failures">')[2].partition("</section>")[0]
    assert f"The first {MOST_FAILURES} of {2 * MOST_FAILURES}; runs.csv names all." in text
    assert "1049" in text
    assert "1050" not in text
