"""In which decimals, unit and direction a metric is shown."""

from __future__ import annotations

import math

import pytest

from limen.lab import metric as known
from limen.lab.metric import ACCURACY, LOSS, ROUNDING, Metric
from limen.lab.statistics import Interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99994, "0.9999"),
        (1.0, "1.000"),
        (99.99, "99.990"),
        (100.0, "100.00"),
        (9999.9, "9999.90"),
        (10_000.0, "10000"),
    ],
)
def test_the_larger_a_value_the_fewer_its_decimals(value: float, text: str) -> None:
    assert LOSS.value(value) == text
    assert LOSS.value(-value) == f"−{text}"
    assert LOSS.value(0.5, beside=value) == LOSS.value(0.5, beside=-value) == f"{0.5:.{len(text.partition('.')[2])}f}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("PERCENTILE", "2.5"), ("KEPT", "2.5"), ("THRESHOLD", "2.540"), ("WEIGHT", "2.540"), ("LEAD", "2.5400")),
        *(("NORMAL_DISTANCE", "2.540"), ("EPOCHS", "2.5"), ("NORMALITY", "2.540"), ("ACCURACY", "254.00")),
    ],
)
def test_the_decimals_of_each(name: str, text: str) -> None:
    assert getattr(known, name).value(2.54) == text


def test_of_which_less_is_better() -> None:
    every = {name: value for name, value in vars(known).items() if isinstance(value, Metric)}
    assert {name for name, one in every.items() if not one.higher_is_better} == {"LOSS", "EPOCHS", "NORMAL_DISTANCE"}
    assert Metric("m", "m").goodness(2.0) == ACCURACY.goodness(2.0) == -LOSS.goodness(2.0) == 2.0


def test_which_may_be_missing() -> None:
    every = {name: value for name, value in vars(known).items() if isinstance(value, Metric)}
    assert {name for name, one in every.items() if not one.refused(math.nan)} == {"GRADIENT_DEPTH_RATIO"}


def test_bounds_cut_intervals_and_those_of_differences_are_as_wide() -> None:
    """Mean 0.9 and t(0.975; 2) · 0.1 / √3 = 0.2484; of a difference of fractions the bounds are −1 and 1."""
    assert ACCURACY.interval([0.8, 0.9, 1.0]).low == pytest.approx(0.9 - 0.2484, abs=1e-4)
    assert ACCURACY.interval([0.8, 0.9, 1.0]).high == 1
    assert ACCURACY.difference_interval([-0.8, -0.9, -1.0]).low == -1
    assert ACCURACY.difference_interval([-0.1, 0.0, 0.1]).low == pytest.approx(-0.2484, abs=1e-4)
    assert ACCURACY.given_in(2).value(0.5) == "50.0"
    assert LOSS.given_in(2).value(0.5) == "0.50"
    assert LOSS.mean(Interval(0.5, math.nan, math.nan)) == "0.5000"


def test_what_rounding_may_do_is_no_reason_to_refuse() -> None:
    assert ACCURACY.refused(-ROUNDING) == ""
    assert ACCURACY.refused(1 + ROUNDING / 2) == ""
    assert "outside of 0 to 1" in ACCURACY.refused(-ROUNDING * 1.001)
