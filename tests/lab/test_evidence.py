"""Power, equivalence, three-way verdicts and sequential bets: against statsmodels, SciPy, enumeration and simulation.

Reference values are of statsmodels 0.15: ``TTestPower().solve_power`` and ``ttost_paired``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from limen.lab import statistics
from limen.lab.statistics import (
    Comparison,
    always_interval,
    decide,
    decide_sequentially,
    detectable,
    equivalence_power,
    fewest_seeds,
    holm,
    look,
    one_of_two,
    power,
    seeds_for,
    tost,
    word_of,
)
from limen.lab.statistics.planning import further_seeds, seeds_for_equivalence
from limen.lab.statistics.sequential import anytime_p, log_wealth
from limen.lab.statistics.verdicts import or_equivalent

compare = partial(statistics.compare, higher_is_better=True)


def against_zero(differences: Sequence[float], *, higher_is_better: bool = True) -> Comparison:
    base = {seed: 10.0 for seed in range(len(differences))}
    values = {seed: 10.0 + difference for seed, difference in enumerate(differences)}
    return statistics.compare(values, base, higher_is_better=higher_is_better)


# --- power ---


@pytest.mark.parametrize(("pairs", "level", "size"), [
    (2, 0.05, 11.549890), (3, 0.05, 3.264044), (5, 0.05, 1.681997), (5, 0.0125, 2.476790), (10, 0.0125, 1.284297),
    (30, 0.05, 0.529236),
])  # fmt: skip
def test_the_smallest_detectable_difference_is_statsmodels(pairs: int, level: float, size: float) -> None:
    assert detectable(1.0, pairs, level) == pytest.approx(size, rel=3e-5)
    assert detectable(0.59, pairs, level) == pytest.approx(0.59 * size, rel=3e-5)
    assert power(size, pairs, level) == pytest.approx(0.8, abs=2e-4)


@pytest.mark.parametrize(("effect", "pairs"), [(0.25, 127.516), (0.5, 33.367), (1.0, 9.938), (2.0, 4.221)])
def test_the_seeds_for_a_difference_are_statsmodels_rounded_up(effect: float, pairs: float) -> None:
    assert seeds_for(effect, 1.0, 0.05) == math.ceil(pairs)
    assert seeds_for(3 * effect, 3.0, 0.05) == math.ceil(pairs)


@pytest.mark.parametrize(("pairs", "effect"), [(3, 1.5), (8, 0.8), (20, -0.5)])
def test_power_is_the_noncentral_ts(pairs: int, effect: float) -> None:
    beyond, shift = stats.t.isf(0.025, pairs - 1), effect * math.sqrt(pairs)
    exact = stats.nct.sf(beyond, pairs - 1, shift) + stats.nct.cdf(-beyond, pairs - 1, shift)
    assert power(effect, pairs, 0.05) == pytest.approx(exact, abs=3e-4)


@pytest.mark.parametrize(("effect", "margin", "pairs"), [(0.0, 1.0, 11), (0.3, 1.0, 15), (0.0, 2.0, 4), (0.0, 0.2, 5)])
def test_the_power_of_equivalence_is_the_simulated_one(effect: float, margin: float, pairs: int) -> None:
    x = np.random.default_rng(5).standard_normal((20_000, pairs)) + effect
    nearest, error = margin - np.abs(x.mean(1)), stats.sem(x, axis=1)
    found = (stats.t.sf(nearest / error, pairs - 1) < 0.05).mean()
    assert equivalence_power(effect, margin, pairs, 0.05) == pytest.approx(found, abs=0.012)


def test_the_seeds_for_equivalence_reach_the_power_and_one_less_does_not() -> None:
    for margin, deviation, difference in ((0.5, 0.59, 0.0), (0.5, 0.2, 0.1), (1.0, 0.4, 0.3)):
        seeds = seeds_for_equivalence(margin, deviation, 0.05, difference)
        assert seeds is not None
        reached = [equivalence_power(difference / deviation, margin / deviation, n, 0.05) for n in (seeds - 1, seeds)]
        assert reached[0] < 0.8 <= reached[1]
    assert seeds_for_equivalence(0.5, 0.59, 0.05, difference=0.5) is None
    assert seeds_for(0.001, 1.0, 0.05) is None


@pytest.mark.parametrize(("mean", "deviation"), [(0.1, 0.59), (0.0, 0.3), (0.5, 0.4), (0.9, 1.0)])
def test_the_expected_further_seeds_are_nearly_those_of_the_exact_powers(mean: float, deviation: float) -> None:
    both = [seeds_for(mean, deviation, 0.05) if mean else None,
            seeds_for_equivalence(0.5, deviation, 0.05, mean)]  # fmt: skip
    exact = min(seeds for seeds in both if seeds is not None)
    assert further_seeds(mean, deviation, 2, margin=0.5, level=0.05) == pytest.approx(exact - 2, abs=2)
    assert further_seeds(mean, deviation, 9_000, margin=0.5, level=0.05) == 1


def test_without_two_values_or_a_spread_nothing_is_said_to_be_detectable() -> None:
    assert math.isnan(detectable(0.5, 1, 0.05))
    assert math.isnan(detectable(0.0, 5, 0.05))
    assert math.isnan(detectable(math.nan, 5, 0.05))
    assert further_seeds(0.0, 0.0, 5, 0.5, 0.05) is None
    assert further_seeds(0.1, math.nan, 1, 0.5, 0.05) is None


def test_every_comparison_carries_what_it_could_have_seen_after_the_correction() -> None:
    one = against_zero([0.01, -0.02, 0.015])
    deviation = float(np.std([0.01, -0.02, 0.015], ddof=1))
    (alone,), four = statistics.correct([one]), statistics.correct([one] * 4)
    assert alone.detectable == pytest.approx(3.264044 * deviation, rel=1e-4)
    assert all(each.detectable == pytest.approx(detectable(deviation, 3, 0.0125)) for each in four)
    single, same = against_zero([0.1]), against_zero([0.1, 0.1])
    assert all(math.isnan(each.detectable) for each in statistics.correct([single, same]))


# --- equivalence ---


def test_tost_is_statsmodels() -> None:
    x = np.random.default_rng(0).normal(0.1, 0.5, 8)
    assert tost(list(x), 0.5) == pytest.approx(0.03535478987718114)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=9).filter(lambda x: np.ptp(x) > 1e-3), st.floats(0.01, 3))
def test_tost_is_the_larger_of_two_one_sided_t_tests(x: list[float], margin: float) -> None:
    above = stats.ttest_1samp(x, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(x, margin, alternative="less").pvalue
    assert tost(x, margin) == pytest.approx(max(above, below), rel=1e-9, abs=1e-12)
    assert tost([-value for value in x], margin) == pytest.approx(tost(x, margin))


def test_without_a_spread_equivalence_is_a_test_of_signs() -> None:
    assert [tost([0.0] * n, 0.5) for n in (2, 5, 8)] == [1 / 4, 1 / 32, 1 / 256]
    assert tost([0.5] * 5, 0.5) == tost([-0.6] * 5, 0.5) == 1.0


# --- several comparisons ---

chances = st.floats(0, 1)


@given(st.lists(st.tuples(chances, chances), min_size=1, max_size=4))
def test_one_of_two_is_closed_testing_over_all_intersections(pairs: list[tuple[float, float]]) -> None:
    """An intersection takes of some pairs one hypothesis each; Bonferroni tests it; a hypothesis needs all of its."""
    found = one_of_two([a for a, _ in pairs], [b for _, b in pairs])
    for place, side in itertools.product(range(len(pairs)), range(2)):
        worst = 0.0
        for choice in itertools.product((None, 0, 1), repeat=len(pairs)):
            if choice[place] == side:
                members = [pairs[k][which] for k, which in enumerate(choice) if which is not None]
                worst = max(worst, min(1.0, len(members) * min(members)))
        assert found[side][place] == pytest.approx(worst)


@given(st.lists(chances, min_size=1, max_size=5))
def test_where_the_other_hypotheses_are_certain_it_is_bonferroni_and_where_they_are_the_same_holm(
    p: list[float],
) -> None:
    assert one_of_two(p, [1.0] * len(p))[0] == pytest.approx([min(1.0, len(p) * each) for each in p])
    assert one_of_two(p, p)[0] == pytest.approx(holm(p))


def test_verdicts_with_a_margin() -> None:
    better, near = [0.5, 0.6, 0.7, 0.55, 0.65], [0.01, -0.02, 0.0, 0.02, -0.01]
    both = [0.05, 0.06, 0.07, 0.055, 0.065]
    wide = [1.0, -0.8, 0.3, -0.5, 0.2]
    rows = [against_zero(x) for x in (better, [-x for x in better], near, both, wide, [0.1], [])]
    verdicts = [one.verdict for one in decide(rows, 0.3, "0.3")]
    assert verdicts[:4] == ["better", "worse", "equivalent within 0.3", "better, by less than 0.3"]
    assert verdicts[4].startswith("undecided (about ")
    assert verdicts[4].endswith(" more seeds)")
    assert verdicts[5:] == ["undecided: needs 2 seeds", "undecided: no finished pair"]
    lower = decide([against_zero(better, higher_is_better=False)], 0.3, "0.3")
    assert lower[0].verdict == "worse"


def test_equal_runs_are_equivalent_once_signs_can_tell() -> None:
    assert decide([against_zero([0.0] * 4)], 0.5, "0.5")[0].verdict == "undecided (equal in every seed)"
    assert decide([against_zero([0.0] * 5)], 0.5, "0.5")[0].verdict == "equivalent within 0.5"
    assert decide([against_zero([0.25] * 4)], 0.125, "0.125")[0].verdict == "undecided (no spread between seeds)"
    assert decide([against_zero([0.25] * 6)], 0.125, "0.125")[0].verdict == "better"
    assert decide_sequentially([against_zero([0.0] * 6)], 0.5, "0.5")[0].verdict == "equivalent within 0.5"


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from([-0.5, 0.0, 0.25, 1.0]), max_size=8), min_size=1, max_size=4))
def test_no_verdict_holds_a_nan_and_each_begins_with_a_known_word(studies: list[list[float]]) -> None:
    for judge in (decide, decide_sequentially):
        for one in judge([against_zero(x) for x in studies], 0.4, "0.4"):
            assert word_of(one.verdict) in ("better", "worse", "equivalent", "undecided")
            assert "nan" not in one.verdict
            assert "inf" not in one.verdict


def test_any_false_verdict_of_a_study_is_rare() -> None:
    """Three activations without a difference and one that differs by the margin, 5 seeds, 120 studies."""
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(120):
        base = rng.standard_normal(5) / 2
        rows = [against_zero(rng.standard_normal(5) / 2 - base + centre) for centre in (0.0, 0.0, 0.0, 1.0)]
        words = [word_of(one.verdict) for one in decide(rows, 1.0, "1")]
        false += bool({"better", "worse"} & {*words[:3]}) or words[3] in ("equivalent", "worse")
    assert false < 0.1 * 120


def test_equivalence_beside_holm_changes_no_detected_difference() -> None:
    rows = [against_zero(x) for x in ([0.5, 0.6, 0.7], [0.001, -0.002, 0.001], [0.01, -0.02, 0.015])]
    judged = statistics.correct(rows)
    found = or_equivalent(judged, [0.05, 0.05, None])
    assert [one.verdict for one in found] == ["better", "equivalent", "no detectable difference"]
    assert [one.p_holm for one in found] == [one.p_holm for one in judged]
    assert found[1].p_equivalence == pytest.approx(2 * tost(rows[1].differences, 0.05))


# --- looking at any time ---


def test_wealth_by_hand() -> None:
    for differences in ([1.0], [1.0, -2.0], [0.5, 0.0, -1.5, 2.0]):
        total = 0.0
        for stake in (0.25, 0.5, 1, 2, 4):
            wealth = 1.0
            for n, x in enumerate(differences, start=1):
                size = math.sqrt(sum(y * y for y in differences[:n]) / n)
                wealth *= 1 + math.tanh(stake * abs(x) / size) * np.sign(x)
            total += wealth / 5
        assert math.exp(log_wealth(np.array(differences))[-1]) == pytest.approx(total)


@given(st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.0, 50.0]), min_size=1, max_size=8))
def test_over_all_signs_of_any_sizes_wealth_is_1_in_the_mean(sizes: list[float]) -> None:
    """What makes it a martingale, exactly, for heavy tails and few values alike."""
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sizes))))
    assert np.exp(log_wealth(signs * sizes))[:, -1].mean() == pytest.approx(1.0)


def test_the_stake_depends_on_no_later_difference_and_not_on_the_unit() -> None:
    x = np.random.default_rng(1).standard_normal(12)
    for n in (1, 5, 11):
        assert log_wealth(x[:n])[-1] == pytest.approx(log_wealth(x)[n - 1])
    assert log_wealth(1000 * x) == pytest.approx(log_wealth(x))
    assert not np.isnan(log_wealth(np.array([-1e9, 1.0, 0.0, 1e-9]))).any()


@pytest.mark.parametrize("draw", [
    lambda rng, shape: rng.standard_normal(shape),
    lambda rng, shape: rng.standard_t(3, shape),
    lambda rng, shape: rng.binomial(359, 0.95, shape) - rng.binomial(359, 0.95, shape) + 0.0,
    lambda rng, shape: rng.choice([-1.0, 1.0], shape),
], ids=["normal", "heavy tails", "accuracies", "two values"])  # fmt: skip
def test_looking_after_every_seed_finds_what_is_not_there_in_at_most_5_percent(draw) -> None:
    x = draw(np.random.default_rng(11), (3000, 30))
    p = 2 * np.minimum(anytime_p(x), anytime_p(-x))[:, -1]
    assert 0.002 < (p < 0.05).mean() < 0.05


def test_looks_are_two_sided_and_equivalence_is_not() -> None:
    x = [0.6, 0.4, 0.5, 0.7, 0.55, 0.45, 0.6, 0.5]
    found, turned = look(x, 1.0), look([-value for value in x], 1.0)
    assert found.p == pytest.approx(2 * math.exp(-log_wealth(np.array(x)).max()))
    assert (found.p, found.p_equivalence) == pytest.approx((turned.p, turned.p_equivalence))
    assert (found.upward, turned.upward) == (True, False)
    assert found.p_equivalence == pytest.approx(math.exp(-log_wealth(1.0 - np.array(x)).max()))
    assert look(x, 0.5).p_equivalence > 0.05


@pytest.mark.parametrize(("level", "two_sided", "seeds"), [(0.05, False, 6), (0.05, True, 7), (0.0125, True, 9)])
def test_the_fewest_seeds_that_can_decide(level: float, two_sided: bool, seeds: int) -> None:
    assert fewest_seeds(level, two_sided=two_sided) == seeds
    most = [float(np.exp(-log_wealth(np.ones(n)))[-1]) * (2 if two_sided else 1) for n in (seeds - 1, seeds)]
    assert most[1] <= level < most[0]


def test_the_interval_at_any_time_holds_what_is_not_refuted() -> None:
    x = np.random.default_rng(3).normal(0.4, 1.0, 15)
    found = always_interval(list(x))
    assert found.low < found.mean < found.high
    step = 2 * (found.high - found.low) / 100
    for inside in (found.low + step, found.mean, found.high - step):
        assert look(list(x - inside), 1.0).p > 0.05
    for outside in (found.low - 1e-6, found.high + 1e-6):
        assert look(list(x - outside), 1.0).p <= 0.05
    turned = always_interval(list(-x))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert math.isnan(always_interval([0.1] * 6).low)
    assert always_interval([0.25] * 7).low == always_interval([0.25] * 7).high == 0.25
    assert math.isnan(always_interval([]).mean)


def test_the_interval_holds_the_centre_in_95_of_100_studies_at_every_look() -> None:
    x = np.random.default_rng(4).standard_t(3, (150, 12))
    missed = sum(not (found.low <= 0 <= found.high) for found in (always_interval(list(row)) for row in x))
    assert missed <= 12
