"""Runs that fell into two groups are found, and those that lie apart by chance are not."""

from __future__ import annotations

import math
import random

import pytest
from helpers_lab import tiny

from limen.lab.metric import ACCURACY, LOSS
from limen.lab.records import RunRecord
from limen.lab.report.apart import apart
from limen.lab.settings import SelectSettings
from limen.lab.statistics import two_groups
from limen.lab.statistics.groups import FEWEST, SMALLEST, TIMES

STEADY = {"relu": [2.79, 2.80, 2.81, 2.83], "gelu": [2.81, 2.79, 2.82, 2.80]}


def test_whichever_group_is_the_larger_both_are_named() -> None:
    one, most = [3.56, 2.81, 2.82, 2.83], [3.56, 3.61, 2.81, 3.58]
    found = two_groups({**STEADY, "one": one, "most": most})
    assert found == {"one": ((2.81, 2.82, 2.83), (3.56,)), "most": ((2.81,), (3.56, 3.58, 3.61))}


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ([2.8, 2.81, 3.6], "too few"),
        ([2.8, 2.81, math.nan, 3.6], "too few that are finite"),
        ([2.8, 3.1, 3.4, 3.7], "no gap"),
        ([2.8, 2.8, 2.8, 2.9], "a gap too small"),
        ([], "none"),
    ],
)
def test_what_is_no_group(scores: list[float], why: str) -> None:
    assert two_groups({**STEADY, "other": scores}) == {}, why


def test_a_gap_is_wide_beside_the_groups() -> None:
    def found(width: float) -> bool:
        return "one" in two_groups({"one": [0.0, width, width + 1, width + 1], **{str(n): [0.0] * 4 for n in range(3)}})

    assert found(0.99 / TIMES)
    assert not found(1.01 / TIMES)


def test_a_gap_is_wide_beside_what_is_usual_of_the_others_without_their_own_gaps() -> None:
    steady = {str(number): [0.0, 0.125, 0.25, 0.375] for number in range(5)}  # groups of 0.25
    assert two_groups({**steady, "one": [0.0, 0.0, 0.25 * TIMES - 0.01, 0.25 * TIMES - 0.01]}) == {}
    assert two_groups({**steady, "one": [0.0, 0.0, 0.25 * TIMES + 0.01, 0.25 * TIMES + 0.01]}).keys() == {"one"}
    broken = {str(number): [0.0, 0.0, 0.0, 5.0] for number in range(5)}
    assert two_groups({**broken, "one": [0.0, 0.0, 1.0, 1.0]}).keys() == {*broken, "one"}


def test_a_gap_is_wide_beside_the_scores() -> None:
    for sign in (1, -1):
        size = sign / SMALLEST
        assert two_groups({"one": [0.98 * size, 0.98 * size, 0.98 * size, 0.98 * size + 1]})
        assert not two_groups({"one": [1.02 * size, 1.02 * size, 1.02 * size, 1.02 * size + 1]})


def test_a_test_example_of_a_hundred_makes_no_group_however_low_the_scores() -> None:
    low = {"one": [0.10, 0.10, 0.10, 0.11], "two": [0.10] * 4}
    assert two_groups(low)
    assert not two_groups(low, ACCURACY.bounds)
    assert two_groups({"one": [0.10, 0.10, 0.10, 0.16]}, ACCURACY.bounds)


def test_normal_scores_of_five_seeds_have_no_groups() -> None:
    draw = random.Random(0)
    studies = [{str(name): [draw.gauss(0, 1) for _ in range(5)] for name in range(6)} for _ in range(300)]
    assert not any(map(two_groups, studies))
    assert FEWEST < 5


def ended(name: str, seed: int, score: float, metric: str) -> RunRecord:
    return RunRecord(
        activation=name, seed=seed, status="finished", failure="", epochs=1, best_epoch=1, metrics={metric: score},
        seconds=1, ms_per_step=1, peak_memory_mb=1, parameters=1, activation_parameters=0,
    )  # fmt: skip


def test_the_sentence_says_how_many_runs_ended_where_the_worse_first() -> None:
    scores = {**STEADY, "silu": [2.80, 3.61, 2.82, 3.62]}
    runs = [ended(name, seed, x, LOSS.on_test) for name, of in scores.items() for seed, x in enumerate(of)]
    (found,) = apart(runs, LOSS, tiny())
    assert "silu: 2 of 4 runs at 3.610 to 3.620, the others at 2.800 to 2.820. Its mean and interval hold both" in found
    assert "relu" not in found
    high = [ended("relu", seed, x, ACCURACY.on_test) for seed, x in enumerate([0.1, 0.9, 0.9, 0.91, 0.92])]
    (found,) = apart(high, ACCURACY, tiny())
    assert "relu: 1 of 5 runs at 10.00 %, the others at 90.00 to 92.00 %." in found
    assert apart(runs[:8], LOSS, tiny()) == []
    assert apart([run.model_copy(update={"status": "failed"}) for run in runs], LOSS, tiny()) == []


def test_numbers_that_a_table_would_round_away_are_written_out() -> None:
    runs = [ended("relu", seed, x, LOSS.on_test) for seed, x in enumerate([1e-5, 1.1e-5, 1e-5, 4e-5])]
    (found,) = apart(runs, LOSS, tiny())
    assert "relu: 1 of 4 runs at 4e-05, the others at 1e-05 to 1.1e-05." in found


def test_advice_is_what_the_study_can_be_given_and_was_not() -> None:
    runs = [ended("relu", seed, x, LOSS.on_test) for seed, x in enumerate([1.0, 1.1, 1.0, 4.0])]
    advised = "--tune lr --trial-seeds 3"
    assert advised in apart(runs, LOSS, tiny())[0]
    assert advised in apart(runs, LOSS, tiny(tune=("lr",)))[0]
    select = {"kind": "select", "candidates": ("relu", "silu"), "activations": ("relu", "adact", "optimized")}
    for settings in (
        tiny(tune=("lr",), trial_seeds=3),
        tiny(protocol="paper"),
        SelectSettings(**{**tiny().model_dump(), **select, "baseline": "relu"}),
    ):
        (found,) = apart(runs, LOSS, settings)
        assert advised not in found
        assert found.endswith("a lower rate or --warmup may help.")
