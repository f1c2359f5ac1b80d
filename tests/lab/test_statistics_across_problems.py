"""Means over problems, the chance to be better, ranks and profiles: against SciPy, autorank's values, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from limen.lab.statistics import profile, ranks, relative_changes, stratified, superiority
from limen.lab.statistics.ranks import critical_difference

RANDOM = np.random.default_rng(0)
SCORES = (
    (0.90, 0.85, 0.80, 0.70),
    (0.60, 0.65, 0.50, 0.55),
    (0.99, 0.97, 0.97, 0.95),
    (0.30, 0.35, 0.20, 0.10),
    (0.77, 0.70, 0.72, 0.60),
)


def named(rows: tuple[tuple[float, ...], ...]) -> list[dict[str, float]]:
    return [dict(zip("abcd", row, strict=False)) for row in rows]


# --- a mean over problems ---


@pytest.mark.parametrize("sizes", [(5, 5), (3, 9), (2, 4)])
def test_two_problems_are_welchs_t_test(sizes: tuple[int, int]) -> None:
    first, second = RANDOM.normal(0.3, 1, sizes[0]), RANDOM.normal(0.4, 3, sizes[1])
    found = stratified([list(first), list(second)])
    welch = stats.ttest_ind(first, -second, equal_var=False)
    low, high = (end / 2 for end in welch.confidence_interval(0.95))
    assert found.found.mean == pytest.approx((first.mean() + second.mean()) / 2)
    assert (found.found.low, found.found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.p == pytest.approx(welch.pvalue, rel=1e-9)


def test_one_problem_is_the_paired_t_test() -> None:
    values = RANDOM.normal(0.3, 1, 7)
    found = stratified([list(values)])
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert (found.found.low, found.found.high) == pytest.approx(
        tuple(stats.ttest_1samp(values, 0).confidence_interval())
    )


def test_three_problems_have_the_freedom_of_satterthwaite() -> None:
    found = stratified([[1.0, 2.0, 3.0], [2.0, 4.0], [1.0, 2.0, 3.0, 1.0, 3.0]])
    variances = np.array([1 / 3, 1.0, np.var([1, 2, 3, 1, 3], ddof=1) / 5])
    freedom = variances.sum() ** 2 / (variances**2 / [2, 1, 4]).sum()
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variances.sum()) / 3
    assert found.found.high - found.found.mean == pytest.approx(half)


def test_a_mean_without_spread_has_no_p_unless_it_is_nothing() -> None:
    same = stratified([[0.0, 0.0, 1e-9], [0.0, 0.0]])
    assert same.p == 1.0
    apart = stratified([[2.0, 2.0], [4.0, 4.0]])
    assert math.isnan(apart.p)
    assert (apart.found.mean, apart.found.low, apart.found.high) == (3.0, 3.0, 3.0)
    single = stratified([[1.0], [2.0, 3.0]])
    assert single.found.mean == 1.75
    assert math.isnan(single.found.low)
    assert math.isnan(stratified([]).found.mean)


# --- errors as parts of the baseline's ---


def test_relative_changes_have_the_spread_of_the_jackknife() -> None:
    theirs = RANDOM.uniform(0.5, 1.5, 40)
    mine = 0.8 * theirs + RANDOM.normal(0, 0.05, 40)
    found = relative_changes(list(mine), list(theirs))
    assert found is not None
    assert np.mean(found) == pytest.approx(mine.mean() / theirs.mean() - 1)
    without = [(mine.sum() - a) / (theirs.sum() - b) for a, b in zip(mine, theirs, strict=True)]
    jackknife = math.sqrt(39 / 40 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert stats.sem(found) == pytest.approx(jackknife, rel=0.05)
    # The plain differences over the mean would spread more.
    assert stats.sem((mine - theirs) / theirs.mean()) > 1.3 * jackknife


def test_nothing_is_a_part_of_no_error() -> None:
    assert relative_changes([0.1, 0.2], [0.0, 0.0]) is None


# --- the chance to be better ---


@pytest.mark.parametrize("wins", [0, 3, 12, 15])
def test_superiority_of_problems_of_one_size_is_clopper_and_pearsons(wins: int) -> None:
    signs = [1.0] * wins + [-1.0] * (15 - wins)
    found = superiority([signs[:5], signs[5:10], signs[10:]])
    exact = stats.binomtest(wins, 15).proportion_ci(method="exact")
    assert (found.mean, found.low, found.high) == pytest.approx((wins / 15, exact.low, exact.high))


def test_equal_runs_count_half_and_problems_the_same() -> None:
    assert superiority([[0.0, 1e-9]], tie=1e-6).mean == 0.5
    few, many = superiority([[1.0], [-1.0] * 9]), superiority([[1.0] * 5, [-1.0] * 5])
    assert few.mean == many.mean == 0.5
    assert few.high - few.low > many.high - many.low
    assert math.isnan(superiority([]).mean)


# --- ranks ---


def test_ranks_are_autoranks() -> None:
    # autorank 1.3.0, nonparametric; Nemenyi's p of a and d by scikit-posthocs 0.17.1 is 0.0173, of b and d 0.0919.
    found = ranks(named(SCORES))
    assert found.of == pytest.approx({"a": 1.4, "b": 1.9, "c": 2.9, "d": 3.8})
    assert found.critical == pytest.approx(2.0975924614902377, rel=1e-5)
    assert found.p == pytest.approx(0.014970002023204273)
    assert found.alike == (("a", "b", "c"), ("b", "c", "d"))


@pytest.mark.parametrize(("count", "problems", "critical"), [(4, 14, 1.25), (5, 30, 1.102), (3, 10, 1.048)])
def test_the_critical_difference_is_demsars(count: int, problems: int, critical: float) -> None:
    # q of 2.569, 2.728 and 2.343 (Demšar 2006, table 5) times sqrt(k(k + 1) / 6N); 2.344 and 2.728 are rounded there.
    assert critical_difference(count, problems) == pytest.approx(critical, abs=2e-2)


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=2, max_size=8))
def test_friedmans_p_is_scipys_with_ties(rows: list[tuple[int, ...]]) -> None:
    found = ranks(named(tuple(tuple(map(float, row)) for row in rows)))
    if all(len(set(row)) == 1 for row in rows):
        assert found.p == 1.0
        return
    assert found.p == pytest.approx(stats.friedmanchisquare(*np.array(rows).T).pvalue, abs=1e-9)


def test_what_never_finished_is_last_and_two_have_no_friedman() -> None:
    found = ranks([{"a": math.nan, "b": 0.1}, {"a": 0.5, "b": 0.1}])
    assert found.of == {"a": 1.5, "b": 1.5}
    assert math.isnan(found.p)


# --- profiles ---


def test_a_profile_counts_problems_the_same_and_failed_runs_never() -> None:
    found = profile([[1.0, 2.0, 3.0, math.inf], [0.5, 2.5]])
    assert found.at(0.4) == 0.0
    assert found.at(0.5) == 0.25
    assert found.at(2.0) == pytest.approx(0.5)
    assert found.at(99.0) == pytest.approx(0.875)
