"""How much training an activation needs to the baseline's score: from curves, in the summary, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from helpers_lab import tiny
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from scipy import stats

from limen.lab.records import CostRow, EpochRow, RunRecord, SummaryRow, failed_run
from limen.lab.report.training import sentence, training_lines
from limen.lab.settings import StudySettings
from limen.lab.statistics import Course, beside, training
from limen.lab.statistics.reaching import Paired
from limen.lab.study.summary import summarise
from limen.lab.tasks import declared

EPOCHS = (1, 2, 3, 4)
RISING = (0.2, 0.4, 0.6, 0.8)


def course(*scores: float) -> Course:
    return Course(range(1, len(scores) + 1), scores)


# --- curves ---


@hypothesis(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.floats(0, 1))
def test_a_score_is_reached_where_straight_lines_first_have_it(scores: list[float], target: float) -> None:
    found = course(*scores).until(target)
    if target > max(scores):
        assert found == math.inf
        return
    fine = np.linspace(1, len(scores), 4001)
    drawn = np.interp(fine, range(1, len(scores) + 1), scores)
    first = fine[np.argmax(drawn >= target)] if (drawn >= target).any() else found
    assert found == pytest.approx(first, abs=(len(scores) - 1) / 4000 + 1e-9)


def test_scores_that_are_missing_are_left_out() -> None:
    assert course(math.nan, 0.5, math.nan, 0.9).until(0.7) == 4
    assert course(math.nan, 0.5).best == 0.5
    assert beside(course(math.nan, math.nan), course(*RISING)) is None
    assert beside(course(0.5), course(0.4)) is None, "one epoch says nothing"


curves = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@hypothesis(max_examples=30)
@given(curves, curves)
def test_exchanging_the_two_turns_the_ratio_over(first: list[float], second: list[float]) -> None:
    one, other = beside(course(*first), course(*second)), beside(course(*second), course(*first))
    assert one is not None
    assert other is not None
    assert one.ratio * other.ratio == pytest.approx(1.0)
    assert one.reached or other.reached
    assert 0 < one.at_least < math.inf


def test_a_run_that_ends_below_is_compared_at_its_own_best_and_bounded_at_the_others() -> None:
    found = beside(course(0.1, 0.2, 0.3, 0.4), course(0.2, 0.4, 0.8, 0.7))
    # 0.4 after four epochs beside two; 0.8 not after four, where the baseline had it after three.
    assert found == Paired(2.0, False, pytest.approx(4 / 3))


@hypothesis(max_examples=30)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=8))
def test_over_seeds_it_is_the_geometric_mean_with_students_interval(ratios: list[float]) -> None:
    if np.ptp(np.log(ratios)) < 1e-6:
        return
    found = training([Paired(ratio, True, ratio) for ratio in ratios])
    ends = stats.ttest_1samp(np.log(ratios), 0).confidence_interval()
    assert found.epochs.mean == pytest.approx(stats.gmean(ratios))
    assert (found.epochs.low, found.epochs.high) == pytest.approx((math.exp(ends.low), math.exp(ends.high)))
    assert found.at_least == pytest.approx(found.epochs.mean)


# --- the summary ---


def run(activation: str, seed: int, scores: Sequence[float], metric: str = "accuracy") -> RunRecord:
    rows = tuple(
        EpochRow(epoch=epoch, train_loss=1, train_score=0, heldout_loss=1, heldout_score=score)
        for epoch, score in enumerate(scores, start=1)
    )
    return RunRecord(
        activation=activation, seed=seed, status="finished", epochs=len(scores), best_epoch=1, curves=rows,
        metrics={f"test_{metric}": scores[-1], f"val_{metric}": scores[-1]}, seconds=1, ms_per_step=1,
        peak_memory_mb=1, parameters=1, activation_parameters=0,
    )  # fmt: skip


def cost(activation: str, ratio: float) -> CostRow:
    return CostRow(
        activation=activation, ms_per_step=1, ratio=ratio, ratio_low=ratio, ratio_high=ratio, peak_memory_mb=1,
        parameters=1,
    )  # fmt: skip


COSTS = (cost("relu", 1.25), cost("asau", 1.5))
HALF = (0.4, 0.8, 0.85, 0.9)


def of_asau(
    *runs: RunRecord, costs: Sequence[CostRow] = COSTS, settings: StudySettings | None = None, task: str = ""
) -> SummaryRow:
    settings = settings or tiny(seeds=tuple(range(9)))
    return summarise(declared.find(task or "classification"), settings, runs, costs)[1]


def test_half_the_epochs_at_a_fifth_more_a_step() -> None:
    runs = [run(name, seed, HALF if name == "asau" else RISING) for name in ("relu", "asau") for seed in range(3)]
    row = of_asau(*runs)
    assert (row.reach_pairs, row.reached) == (3, 3)
    assert row.epochs_ratio == pytest.approx(0.5)
    assert row.step_ratio == pytest.approx(1.2)
    assert row.time_ratio == pytest.approx(0.6)
    assert (row.time_ratio_low, row.time_ratio_high) == pytest.approx((0.6, 0.6))
    assert "reaches relu’s score in 0.50 times the epochs (0.50 to 0.50) at 1.20 times a step: 0.60" in sentence(row)


def test_where_lower_is_better() -> None:
    falling = [[4.0, 3.0, 2.0, 1.0], [3.0, 1.0, 0.9, 0.8]]
    runs = [run(name, 0, scores, "rmse") for name, scores in zip(("relu", "asau"), falling, strict=True)]
    regression = tiny(task="regression", data="x.csv", target="y", network="dnn", limit_train=None, limit_test=None)
    assert of_asau(*runs, task="regression", settings=regression).epochs_ratio == pytest.approx(0.5)


def test_where_most_runs_never_had_it_there_is_a_bound() -> None:
    low = (0.1, 0.2, 0.3, 0.4)
    runs = [run("relu", seed, RISING) for seed in range(3)]
    row = of_asau(*runs, run("asau", 0, HALF), run("asau", 1, low), run("asau", 2, low))
    bound = (0.5 * 1 * 1) ** (1 / 3)
    assert row.epochs_at_least == pytest.approx(bound)
    said = sentence(row)
    assert said.startswith(f"asau does not reach relu’s score in 2 of 3 seeds: it takes more than {1.2 * bound:.2f} of")
    (line,) = training_lines([row])
    assert (line.time, line.time_span, line.reached) == (f"> {1.2 * bound:.2f}", "", "1 of 3")


SAID = {
    "identical runs": (
        [run(name, seed, RISING) for name in ("relu", "asau") for seed in (0, 1)],
        COSTS,
        "1.00 times the epochs (1.00 to 1.00)",
    ),
    "one seed": ([run("relu", 0, RISING), run("asau", 0, HALF)], COSTS, "one seed has no interval"),
    "no costs": ([run(name, s, RISING) for name in ("relu", "asau") for s in (0, 1)], (), "a step was not timed"),
    "missing scores": (
        [run("relu", 0, RISING), run("asau", 0, (math.nan, 0.5, math.nan, 0.9))], COSTS, "reaches relu’s score"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_nothing_that_is_missing_is_said_as_a_number(case: str) -> None:
    runs, costs, words = SAID[case]
    said = sentence(of_asau(*runs, costs=costs))
    assert words in said
    assert "nan" not in said
    assert "–" not in said


NONE_SAID = {
    "the baseline failed": [failed_run("relu", 0, "no"), run("asau", 0, RISING)],
    "no curves": [run("relu", 0, RISING).model_copy(update={"curves": ()}), run("asau", 0, RISING)],
    "one epoch": [run("relu", 0, RISING[:1]), run("asau", 0, RISING[:1])],
}


@pytest.mark.parametrize("case", NONE_SAID)
def test_where_curves_say_nothing_no_row_is_shown(case: str) -> None:
    row = of_asau(*NONE_SAID[case])
    assert row.reach_pairs == 0
    assert not training_lines([row])


def test_with_seeds_auto_the_interval_holds_at_any_time() -> None:
    runs = [run("relu", seed, RISING) for seed in range(9)]
    runs += [run("asau", seed, HALF if seed % 3 else RISING) for seed in range(9)]
    fixed = of_asau(*runs)
    auto = of_asau(*runs, settings=tiny(seeds=tuple(range(9)), margin=0.5, max_seeds=9))
    assert auto.epochs_ratio == pytest.approx(fixed.epochs_ratio)
    assert auto.epochs_ratio_high > fixed.epochs_ratio_high
