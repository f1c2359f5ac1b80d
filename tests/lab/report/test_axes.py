"""Axes and ticks of every figure of the report lie where what they show can be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import thoroughly
from helpers_report import synthetic
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

import limen.lab.report.figures as figures_package
from limen.lab.metric import ACCURACY
from limen.lab.records import Confusion, EpochRow, RunRecord, Scatter, Series, TrialRow, WeightsRow, Written
from limen.lab.report.contents import Contents
from limen.lab.report.figures import accuracy, cost, curves, differences, sensitivity, shapes, trajectories
from limen.lab.report.figures.axes import shown_bounds
from limen.lab.report.figures.examples import examples, section, written
from limen.lab.report.figures.svg import PIXEL
from limen.lab.report.sites import sites
from limen.lab.tasks import registry
from limen.lab.training.task import Task

PAINTERS = (accuracy, cost, curves, differences, section, sensitivity, shapes, trajectories, written)

pytestmark = pytest.mark.drawn


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of everything that is painted; none of it becomes SVG."""
    found: list[Axes] = []

    def painted(size: tuple[float, float], prefix: str, label: str, paint: Callable[[Figure], None]) -> Markup:
        figure = Figure(figsize=(size[0] * PIXEL, size[1] * PIXEL))
        paint(figure)
        found.extend(figure.axes)
        return Markup("<svg/>")

    for module in PAINTERS:
        monkeypatch.setattr(module, "draw", painted)
    return found


def inside(low: float, high: float, limits: tuple[float, float], ticks: Any) -> None:
    room = 1e-6 * (abs(limits[0]) + abs(limits[1]))
    assert low - room <= min(limits) < max(limits) <= high + room
    assert all(min(limits) - room <= tick <= max(limits) + room for tick in ticks)


def of(task: Task, values: tuple[float, ...], epochs: int, loss: float = 0.01) -> Contents:
    """A study of two runs whose measure goes through these values, the last of them tested."""
    made = synthetic(("relu", "asau"), (0, 1), epochs=epochs)

    def curve(seed: int) -> tuple[EpochRow, ...]:
        at = [values[(epoch + seed) % len(values)] for epoch in range(epochs)]
        return tuple(
            EpochRow(epoch=1 + n, train_loss=loss * n, train_score=v, heldout_loss=loss, heldout_score=v)
            for n, v in enumerate(at)
        )

    runs = tuple(
        run.model_copy(update={"metrics": {task.measure.on_test: values[run.seed % len(values)]},
                               "curves": curve(run.seed)})
        for run in made.runs
    )  # fmt: skip
    low, high = min(values), max(values)
    summary = tuple(
        row.model_copy(update={"metric": task.measure.on_test, "mean": (low + high) / 2, "low": low, "high": high})
        for row in made.summary
    )
    return replace(made, task=task, runs=runs, summary=summary)


def extremes(task: Task) -> list[tuple[float, ...]]:
    """Values at the bounds of the measure, near them, and all alike."""
    low, high = task.measure.bounds
    low, high = max(low, -5.0), min(high, 5.0)
    part = (high - low) / 100
    return [(low, low), (high, high), (low + part / 9, high - part / 9)]


@pytest.mark.parametrize(
    ("name", "epochs"),
    thoroughly(  # a part of 1, and a distance
        itertools.product(("segmentation", "regression"), (1, 9)), usual=[("segmentation", 9), ("regression", 1)]
    ),
)
def test_scores_and_epochs_stay_inside(name: str, epochs: int, drawn: list[Axes]) -> None:
    task = registry.find(name)
    for values in extremes(task):
        study = of(task, values, epochs)
        drawn.clear()
        assert accuracy.intervals(study)
        (axes,) = drawn
        inside(*shown_bounds(task.measure), axes.get_xlim(), axes.get_xticks())
        drawn.clear()
        panels = curves.curves(study)
        assert len(panels) == len(drawn) == 4
        score = shown_bounds(task.measure)
        trained = shown_bounds(task.train_score or task.measure)
        for axes, bounds in zip(drawn, ((0, math.inf), (0, math.inf), trained, score), strict=True):
            if axes.get_yscale() == "linear":
                inside(*bounds, axes.get_ylim(), axes.get_yticks())
            ticks = axes.get_xticks()
            assert len(ticks)
            assert all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)
            if epochs > 1:
                inside(1, epochs, axes.get_xlim(), ticks)


def test_a_loss_below_zero_is_seen(drawn: list[Axes]) -> None:
    curves.curves(of(registry.find("anomaly"), (0.5, 0.6), 3, loss=-4.0))
    assert drawn[0].get_ylim()[0] <= -8.0


@pytest.mark.parametrize("ratio", [0.0, 1e-3, 1.0, 400.0])
def test_costs_begin_at_nothing(ratio: float, drawn: list[Axes]) -> None:
    made = synthetic()
    rows = [row.model_copy(update={"ratio": ratio, "ratio_low": ratio, "ratio_high": ratio}) for row in made.costs]
    assert cost.costs(replace(made, costs=tuple(rows)))
    assert len(drawn) == 2
    for axes in drawn:
        assert axes.get_xlim()[0] == 0
        inside(0, math.inf, axes.get_xlim(), axes.get_xticks())


@pytest.mark.parametrize("size", [0.0, 0.004, 0.9])
@pytest.mark.parametrize("detectable", [math.nan, 0.5, 4.0, 400.0])
def test_differences_lie_about_nothing(size: float, detectable: float, drawn: list[Axes]) -> None:
    made = synthetic(("relu", "asau"), (0, 1))
    ends = {"difference": size, "difference_low": size - 0.1, "difference_high": min(1.0, size + 0.2)}
    rows = (made.summary[0], made.summary[1].model_copy(update={**ends, "detectable": detectable}))
    assert differences.differences(replace(made, summary=rows))
    (axes,) = drawn
    low, high = axes.get_xlim()
    assert low == -high
    inside(-100, 100, (low, high), axes.get_xticks())
    assert max(abs(100 * end) for end in ends.values()) <= high
    if math.isfinite(detectable):  # what is shaded leaves the interval visible
        assert high <= max(1.06 * detectable, 1.06 * 4 * 100 * max(map(abs, ends.values())))


@pytest.mark.parametrize("weights", [(0.0, 1.0), (0.5, 0.5), (0.999, 0.001)])
@pytest.mark.parametrize("epochs", [0, 20])
def test_weights_are_parts_of_one(epochs: int, weights: tuple[float, float], drawn: list[Axes]) -> None:
    rows = [
        WeightsRow(epoch=epoch, path="1", weights=dict(zip(("relu", "silu"), weights, strict=True)))
        for epoch in range(epochs + 1)
    ]
    run = synthetic().runs[0].model_copy(update={"weights": tuple(rows)})
    assert trajectories.trajectories([run])
    (axes,) = drawn
    inside(0, 1, axes.get_ylim(), axes.get_yticks())
    assert all(tick == int(tick) and 0 <= tick <= epochs for tick in axes.get_xticks())


def shown(record: Any) -> Contents:
    made = synthetic(("relu",), (0,))
    runs: tuple[RunRecord, ...] = tuple(run.model_copy(update={"shown": record}) for run in made.runs)
    return replace(made, runs=runs)


def test_examples_have_no_place_that_is_not_there(drawn: list[Axes]) -> None:
    classes = ("a", "b", "c")
    assert examples(shown(Confusion(classes=classes, counts=((1, 0, 0), (0, 2, 0), (0, 0, 0)))))
    (axes,) = drawn
    assert sorted(axes.get_xlim()) == sorted(axes.get_ylim()) == [-0.5, 2.5]
    assert [*axes.get_xticks()] == [*axes.get_yticks()] == [0, 1, 2]
    for count in (1, 2, 3, 50):
        drawn.clear()
        numbers = tuple(map(float, range(count)))
        assert examples(
            shown(Series(quantity="q", times=tuple(map(str, range(count))), true=numbers, predicted=numbers))
        )
        (axes,) = drawn
        ticks = [*axes.get_xticks()]
        inside(0, max(count - 1, 1), axes.get_xlim(), ticks)
        assert len(set(ticks)) == len(ticks) == min(count, 6)
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(int(tick)) for tick in ticks]
    drawn.clear()
    assert examples(shown(Scatter(quantity="q", true=(1.0, 2.0), predicted=(1.5, 1.0))))
    assert len(drawn) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 128])
def test_losses_by_place_begin_at_the_first_and_end_at_the_last(count: int, drawn: list[Axes]) -> None:
    places = tuple(range(1, count + 1))
    assert examples(shown(Written(places=places, bits=(1.0,) * count, unit="bytes", prompt="a", sample="b")))
    (axes,) = drawn
    ticks = [*axes.get_xticks()]
    inside(1, max(count, 2), axes.get_xlim(), ticks)
    assert set(ticks) <= set(places)
    assert {1, count} <= set(ticks)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_histogram_of_a_shape_begins_at_the_panel_s_edge(seeds: tuple[int, ...], drawn: list[Axes]) -> None:
    made = synthetic(("asau",), seeds)
    assert shapes.shape(sites(made.runs)[0], "asau", next(iter(curves.looks(("asau",), "relu").values())), "s-")
    (axes,) = drawn
    filled = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    assert len(filled) == len(seeds)
    in_panel, tops = axes.transAxes.inverted(), []
    for histogram in filled:
        heights = in_panel.transform(histogram.get_transform().transform(histogram.get_path().vertices))[:, 1]
        assert heights.min() == pytest.approx(0)
        tops.append(heights.max())
    assert max(tops) == pytest.approx(0.8)


def test_the_histogram_does_not_hide_a_line_at_nothing() -> None:
    axes = Figure().subplots()
    axes.plot([-1.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    shapes._histogram(axes, np.array([-1.0, 0.0, 1.0]), np.array([0.2, 0.5, 0.3]))
    assert axes.get_ylim()[0] < 0


@pytest.mark.parametrize("scores", [(0.0, 0.0), (1.0, 1.0), (0.97, math.nan)])
def test_trials_stay_inside(scores: tuple[float, ...], drawn: list[Axes]) -> None:
    trials = tuple(
        TrialRow(activation="asau", trial=1 + n, common=True, learning_rate=10.0 ** (n - 3), weight_decay=0.0,
                 activation_lr=10.0 ** (n - 3), seed=10_000, epochs=3, best_epoch=2, metric="val_accuracy", score=score,
                 loss=0.1, chosen=n == 0, status="failed" if math.isnan(score) else "finished", failure="",
                 seconds=2.0)
        for n, score in enumerate(scores)
    )  # fmt: skip
    assert sensitivity.sensitivity(replace(synthetic(tune=("lr",)), trials=trials), ACCURACY)
    (axes,) = drawn
    inside(*shown_bounds(ACCURACY), axes.get_ylim(), axes.get_yticks())
    assert axes.get_xlim()[0] > 0


def test_every_file_that_draws_is_tried_here() -> None:
    home = Path(next(iter(figures_package.__path__)))
    drawing = {path.stem for path in home.rglob("*.py") if "draw(" in path.read_text()} - {"svg"}
    assert drawing == {module.__name__.rpartition(".")[2] for module in PAINTERS}
