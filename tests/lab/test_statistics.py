"""Intervals, Holm's correction and verdicts, against SciPy, hand numbers, properties and simulated studies."""

from __future__ import annotations

import dataclasses
import math
import random
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from helpers_lab import tiny
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from limen.lab import statistics
from limen.lab.records import RunRecord
from limen.lab.statistics import correct, holm, interval, tost
from limen.lab.statistics.power import NODES, deviations
from limen.lab.statistics.student import critical, two_sided
from limen.lab.study.summary import summarise
from limen.lab.tasks import registry

compare = partial(statistics.compare, higher_is_better=True)


# --- intervals ---


def test_interval_by_hand() -> None:
    # Mean 3, s = sqrt(2.5), t(0.975; 4) = 2.776445.
    found = interval([1, 2, 3, 4, 5])
    half = 2.7764451 * math.sqrt(2.5) / math.sqrt(5)
    assert found.mean == 3
    assert found.low == pytest.approx(3 - half, rel=1e-7)
    assert found.high == pytest.approx(3 + half, rel=1e-7)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_interval_is_scipys(values: list[float]) -> None:
    found = interval(values)
    if np.ptp(values) < 1e-9:
        return
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)


def test_interval_of_none_of_one_and_of_equal_values() -> None:
    nothing, one, equal = interval([]), interval([0.7]), interval([0.7, 0.7, 0.7])
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.low)
    assert one.mean == 0.7
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert (equal.mean, equal.low, equal.high) == pytest.approx((0.7, 0.7, 0.7))


fractions = st.lists(st.floats(0, 1), min_size=2, max_size=12)


@given(fractions)
def test_a_bounded_interval_is_the_part_of_students_between_the_bounds(values: list[float]) -> None:
    whole, found = interval(values), interval(values, (0.0, 1.0))
    assert (found.mean, found.low, found.high) == (whole.mean, max(whole.low, 0.0), min(whole.high, 1.0))
    assert found.low <= found.mean <= found.high


def test_the_smallest_differences_there_are_have_a_test() -> None:
    assert two_sided([0.0, -5e-324]) == pytest.approx(two_sided([0.0, -1.0]))
    assert tost([0.0, -5e-324], 0.5) == 0.0
    assert tost([0.5, 0.5 + 1e-16, 0.75], 0.5) > 0.5


@pytest.mark.parametrize("count", [2, 3, 10])
def test_students_distribution_is_that_of_scipy(count: int) -> None:
    differences = (np.random.default_rng(count).standard_normal(count) + 0.3).tolist()
    assert two_sided(differences) == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, rel=1e-12)
    assert critical(count, 0.025) == pytest.approx(stats.t.isf(0.025, count), rel=1e-12)
    assert interval(differences).high == pytest.approx(
        stats.t.interval(0.95, count - 1, np.mean(differences), stats.sem(differences))[1], rel=1e-12
    )
    known = np.sqrt(stats.chi2.ppf((np.arange(NODES) + 0.5) / NODES, count) / count)
    np.testing.assert_allclose(deviations(count), known, rtol=1e-9)


@given(fractions, fractions)
def test_differences_of_bounded_values_are_bounded_by_their_width(values: list[float], baseline: list[float]) -> None:
    pair = (dict(enumerate(values)), dict(enumerate(baseline)))
    whole, found = compare(*pair).difference, compare(*pair, bounds=(0.0, 1.0)).difference
    if not math.isnan(whole.low):
        assert (found.low, found.high) == (max(whole.low, -1.0), min(whole.high, 1.0))
    assert compare(*pair, bounds=(0.0, math.inf)).difference == pytest.approx(whole, nan_ok=True)


def test_a_bounded_interval_holds_the_mean_as_often_as_students() -> None:
    """Accuracies of 50 test images near 100 %, where nearly half of the intervals are cut."""
    rng, truth = np.random.default_rng(3), 0.98
    samples = rng.binomial(50, truth, (700, 3)) / 50
    whole, cut = ([interval(list(one), bounds) for one in samples] for bounds in (statistics.UNBOUNDED, (0.0, 1.0)))
    assert sum(found.high > 1 for found in whole) > 175
    assert all(found.high <= 1 for found in cut)
    assert [one.low <= truth <= one.high for one in cut] == [one.low <= truth <= one.high for one in whole]


def test_what_has_no_interval_has_none_between_bounds_either() -> None:
    for values in ([], [0.7], [0.5, math.nan]):
        found = interval(values, (0.0, 1.0))
        assert math.isnan(found.low)
        assert math.isnan(found.high)


# --- Holm ---


def test_holm_by_hand() -> None:
    # Sorted 0.005·4, 0.01·3, 0.03·2, 0.04·1 = 0.02, 0.03, 0.06, 0.04 → made monotone: 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=10)


@given(probabilities)
def test_holm_never_lowers_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert len(adjusted) == len(p)
    assert all(original <= new <= 1 for original, new in zip(p, adjusted, strict=True))
    ranked = sorted(zip(p, adjusted, strict=True))
    assert all(a[1] <= b[1] for a, b in pairwise(ranked))
    assert min(adjusted) == pytest.approx(min(1, len(p) * min(p)))


@given(probabilities, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_given(p: list[float], shuffling: random.Random) -> None:
    positions = list(range(len(p)))
    shuffling.shuffle(positions)
    adjusted = holm(p)
    assert holm([p[i] for i in positions]) == [adjusted[i] for i in positions]


# --- comparisons ---

BASE = {0: 0.80, 1: 0.82, 2: 0.81, 3: 0.79, 4: 0.83}


def plus(*amounts: float) -> dict[int, float]:
    return {seed: value + amount for (seed, value), amount in zip(BASE.items(), amounts, strict=False)}


def judged(values: dict[int, float], baseline: dict[int, float] = BASE) -> str:
    return correct([compare(values, baseline)])[0].verdict


def test_compare_is_the_paired_t_test() -> None:
    values = plus(0.02, 0.01, 0.03, 0.02, 0.015)
    found = compare(values, BASE)
    expected = stats.ttest_rel(list(values.values()), list(BASE.values()))
    low, high = expected.confidence_interval(0.95)
    assert found.pairs == 5
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.difference.mean == pytest.approx(0.019)
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high))


def test_pairs_are_formed_by_seed_and_not_by_position() -> None:
    values = plus(0.02, 0.01, 0.03, 0.02, 0.015)
    backwards = dict(reversed(values.items()))
    assert compare(backwards, BASE) == compare(values, BASE)
    without = {seed: value for seed, value in values.items() if seed != 1}
    found = compare({**without, 9: 0.1}, BASE)
    assert found.pairs == 4
    assert found.difference.mean == pytest.approx(np.mean([0.02, 0.03, 0.02, 0.015]))


def test_verdicts() -> None:
    assert judged(plus(0.02, 0.01, 0.03, 0.02, 0.015)) == "better"
    assert judged(plus(-0.02, -0.01, -0.03, -0.02, -0.015)) == "worse"
    assert judged(plus(0.02, -0.03, 0.01, -0.01, 0.02)) == "no detectable difference"
    assert judged(plus(0.02)) == "not tested: needs 2 seeds"
    assert judged({7: 0.9}) == "not tested: no finished pair"
    assert judged({}) == "not tested: no finished pair"
    assert judged(BASE) == "no detectable difference"


def test_identical_values_have_p_1() -> None:
    for values in (BASE, dict.fromkeys(BASE, 0.0)):
        found = compare(values, values)
        assert (found.p, found.difference.mean, found.verdict) == (1, 0, "no detectable difference")


@pytest.mark.parametrize(("hits", "images"), [((40, 38), 50), ((430, 250), 500), ((19, 12), 36)])
def test_equal_differences_are_not_tested(hits: tuple[int, int], images: int) -> None:
    # Accuracies come out of float32, so that equal differences differ by 1e-8; that is no spread to test with.
    def accuracies(*counts: int) -> dict[int, float]:
        return {seed: float(np.float32(count) / np.float32(images)) for seed, count in enumerate(counts)}

    found = compare(accuracies(*(count + 1 for count in hits)), accuracies(*hits))
    assert math.isnan(found.p)
    assert found.verdict == "not tested: no spread between seeds"


def test_a_spread_of_one_image_in_a_large_test_set_is_tested() -> None:
    assert not math.isnan(compare({0: 0.5 + 1e-5, 1: 0.5}, {0: 0.5, 1: 0.5}).p)


@pytest.mark.parametrize(("parts", "verdict"), [
    ((0.3, 0.9), "no detectable difference"), ((0.9, 1.2), "not tested: no spread between seeds"),
    ((0.0, 1.2), ""),
])  # fmt: skip
@pytest.mark.parametrize("size", [1.0, 400.0])
def test_what_is_equal_is_a_millionth_of_the_largest_value(
    parts: tuple[float, float], verdict: str, size: float
) -> None:
    """Differences in parts of 1e-6 of the largest value: both within it, one beyond it, further apart than it."""
    values = {seed: size * (1 + 1e-6 * part) for seed, part in enumerate(parts)}
    assert compare(values, dict.fromkeys(values, size)).verdict == verdict
    assert compare(dict.fromkeys(values, -size), {seed: -value for seed, value in values.items()}).verdict == verdict


def test_the_largest_value_is_that_of_both() -> None:
    small = {0: 0.001, 1: 0.002}
    for spread, verdict in ((3e-4, "not tested: no spread between seeds"), (5e-4, "")):  # a millionth of 400 is 4e-4
        large = {0: 400 + 0.001, 1: 400 + 0.002 + spread}
        assert compare(large, small).verdict == compare(small, large).verdict == verdict


def test_a_p_of_the_level_itself_detects_nothing() -> None:
    whole = compare(plus(0.02, 0.01, 0.03, 0.02, 0.015), BASE)
    level = 1 - 0.95
    for p, verdict in ((level, "no detectable difference"), (math.nextafter(level, 0), "better")):
        (found,) = correct([dataclasses.replace(whole, p=p)])
        assert (found.p_holm, found.verdict) == (p, verdict)


def test_only_what_was_tested_counts_as_a_comparison() -> None:
    real = compare(plus(0.02, 0.01, 0.03, 0.02, 0.015), BASE)
    untested = compare(plus(0.02), BASE)
    both = correct([untested, real, untested])
    assert both[1].p_holm == real.p
    assert math.isnan(both[0].p_holm)
    assert [each.verdict for each in both] == ["not tested: needs 2 seeds", "better", "not tested: needs 2 seeds"]


def test_the_correction_can_take_a_verdict_back() -> None:
    near = compare(plus(0.02, 0.002, 0.03, 0.02, 0.005), BASE)
    assert 0.025 < near.p < 0.05
    assert correct([near])[0].verdict == "better"
    assert correct([near, compare(BASE, BASE)])[0].verdict == "no detectable difference"


def test_false_positives_stay_near_5_percent() -> None:
    """200 studies of 5 seeds and 4 activations that differ in nothing: in how many is anything 'found'?"""
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(200):
        of_seed = rng.normal(0.9, 0.01, 5)  # what a seed does to every activation
        accuracies = of_seed + rng.normal(0, 0.005, (5, 5))
        baseline, *others = (dict(enumerate(row)) for row in accuracies)
        verdicts = {each.verdict for each in correct([compare(other, baseline) for other in others])}
        found += bool(verdicts & {"better", "worse"})
    assert 0 < found < 0.08 * 200


def test_a_large_effect_is_found() -> None:
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(100):
        of_seed = rng.normal(0.9, 0.05, 5)
        baseline = dict(enumerate(of_seed + rng.normal(0, 0.003, 5)))
        other = dict(enumerate(of_seed + 0.02 + rng.normal(0, 0.003, 5)))
        found += judged(other, baseline) == "better"
    assert found > 90  # unpaired, the spread of 0.05 between seeds would hide it


# --- the summary of a study ---


def run(activation: str, seed: int, accuracy: float | None) -> RunRecord:
    return RunRecord(
        activation=activation,
        seed=seed,
        status="finished" if accuracy is not None else "failed",
        failure="" if accuracy is not None else "the loss became nan in epoch 1, step 1.",
        epochs=1,
        metrics={} if accuracy is None else {"test_accuracy": accuracy},
        seconds=1,
        ms_per_step=1,
        peak_memory_mb=1,
        parameters=10,
        activation_parameters=0,
    )


def test_a_failed_run_leaves_its_pair_and_is_counted() -> None:
    settings = tiny(activations=("relu", "asau", "ash"), seeds=(0, 1, 2))
    runs = [run("relu", seed, 0.8 + 0.01 * seed) for seed in range(3)]
    runs += [run("asau", 0, 0.85), run("asau", 1, None), run("asau", 2, 0.86)]
    runs += [run("ash", seed, None) for seed in range(3)]
    relu, asau, ash = summarise(registry.find(settings.task), settings, runs, ())
    assert (relu.verdict, relu.difference, relu.runs) == ("baseline", 0.0, 3)
    assert (asau.runs, asau.failed) == (2, 1)
    assert asau.mean == pytest.approx(0.855)
    assert asau.difference == pytest.approx(0.045)
    assert (ash.runs, ash.failed) == (0, 3)
    assert ash.verdict == "not tested: no finished pair"
    assert math.isnan(ash.mean)
    assert math.isnan(asau.ms_ratio)


def test_where_lower_is_better_a_smaller_value_is_better() -> None:
    smaller = {0: 1.0, 1: 1.02, 2: 0.99}, {0: 2.0, 1: 2.01, 2: 2.02}
    both = [statistics.compare(*smaller, higher_is_better=higher) for higher in (False, True)]
    assert [each.verdict for each in correct(both)] == ["better", "worse"]
