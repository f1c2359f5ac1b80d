"""What a metric is: how it is called, in which unit it is shown, which direction is better, where it can lie.

A task declares the metrics that it computes. Everything that shows, compares or judges one asks it here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limen.errors import SpecError
from limen.lab.numerals import between, fixed, with_span

if TYPE_CHECKING:
    # Which needs NumPy, and what lists metrics does not.
    from limen.lab.statistics import Bounds, Comparison, Interval

PERCENT = "%"
NONE = "none"
"""In the place of a difference, where none can be seen."""
HALF_A_POINT = 0.5
"""The margin of what is in percent: about the spread between seeds of the studies stored here."""
OF = "_of_"
"""In the name of a metric of one class, before the class."""
ANY: Bounds = (-math.inf, math.inf)
FRACTION: Bounds = (0.0, 1.0)
NOT_NEGATIVE: Bounds = (0.0, math.inf)
ROUNDING = 1e-5
"""So far beyond a bound a value may lie that was computed in float32."""
DECIMALS = ((1.0, 4), (100.0, 3), (10_000.0, 2), (math.inf, 0))
"""Below which size how many decimals are shown of what is not in percent."""


@dataclass(frozen=True)
class Metric:
    """One metric. Its values are stored as they are computed, by its name with the split before it."""

    name: str
    """As it is stored, without the split: ``rmse``."""
    title: str
    """As it is called in a sentence: ``RMSE``."""
    unit: str = ""
    """``%`` of what is stored as a fraction: it is shown times 100, and its differences in points."""
    higher_is_better: bool = True
    bounds: Bounds = ANY
    """Between which every value lies."""
    decimals: int | None = None
    """How many are shown; None: two of a percentage, of others fewer the larger the value."""
    always: bool = True
    """Whether it has a value on any data; where it has not, NaN is stored."""
    margin: float | None = None
    """The difference below which two values count as equal where nobody says another, in the unit of differences.

    None for what is in the data's own unit, such as an RMSE: only who knows the data can say it.
    """

    @property
    def on_heldout(self) -> str:
        """Its name among an epoch's metrics."""
        return f"val_{self.name}"

    @property
    def on_test(self) -> str:
        """Its name among a run's metrics."""
        return f"test_{self.name}"

    @property
    def best_on_test(self) -> str:
        """The name of the best test value of any epoch among a run's metrics."""
        return f"best_{self.on_test}"

    @property
    def on_transfer(self) -> str:
        """Its name among a run's metrics on other data."""
        return f"transfer_{self.name}"

    @property
    def of_reference(self) -> str:
        """The name among a run's metrics of what needs no network."""
        return f"reference_{self.name}"

    @property
    def stored_as(self) -> tuple[str, ...]:
        """Its names among a run's metrics."""
        return (self.on_heldout, self.on_test, self.on_transfer, self.best_on_test, self.of_reference)

    def of_class(self, name: str) -> Metric:
        """It of one class alone, which some data leave without a value.

        >>> F1.of_class("cat").on_test
        'test_f1_of_cat'
        """
        return replace(self, name=f"{self.name}{OF}{name}", title=f"{self.title} of {name}", always=False)

    @property
    def tested(self) -> str:
        """It on the test set, in a sentence: "test accuracy"."""
        return f"test {self.title}"

    @property
    def axis(self) -> str:
        """It with its unit, without the split.

        >>> ACCURACY.axis, LOSS.axis
        ('accuracy (%)', 'loss')
        """
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def heading(self) -> str:
        """It on the test set as a heading, with its unit.

        >>> ACCURACY.heading
        'Test accuracy (%)'
        """
        return f"Test {self.axis}"

    @property
    def column(self) -> str:
        """It as the heading of a terminal's column.

        >>> ACCURACY.column, LOSS.column
        ('accuracy %', 'loss')
        """
        return f"{self.title} {self.unit}".rstrip()

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: points of what is in percent."""
        return "points" if self.unit == PERCENT else self.unit

    def refused(self, value: float) -> str:
        """Why this is no value of the metric; empty where it is one.

        >>> ACCURACY.refused(0.5), ACCURACY.refused(1.5), ACCURACY.refused(math.nan)
        ('', 'is 1.5, outside of 0 to 1', 'is nan')
        """
        if math.isnan(value):
            return "is nan" if self.always else ""
        if math.isinf(value):
            return f"is {value}"
        low, high = self.bounds
        beyond = max(low - value, value - high) > ROUNDING
        return f"is {value:g}, outside of {low:g} to {high:g}" if beyond else ""

    def goodness(self, value: float) -> float:
        """The value, turned so that more is better.

        >>> LOSS.goodness(2.0)
        -2.0
        """
        return value if self.higher_is_better else -value

    def interval(self, values: Sequence[float]) -> Interval:
        """The mean of some values with its interval."""
        from limen.lab import statistics

        return statistics.interval(values, self.bounds)

    def difference_interval(self, differences: Sequence[float]) -> Interval:
        """The mean of some differences of two values with its interval."""
        from limen.lab import statistics

        return statistics.interval(differences, statistics.of_differences(self.bounds))

    def compare(self, values: Mapping[int, float], baseline: Mapping[int, float]) -> Comparison:
        """Values against a baseline's, paired by seed, in the metric's own direction."""
        from limen.lab import statistics

        return statistics.compare(values, baseline, bounds=self.bounds, higher_is_better=self.higher_is_better)

    def shown(self, value: float) -> float:
        """The value as an axis has it.

        >>> ACCURACY.shown(0.5), LOSS.shown(0.5)
        (50.0, 0.5)
        """
        return 100 * value if self.unit == PERCENT else value

    def in_its_unit(self, difference: float) -> float:
        """A difference as it is shown: in points of what is in percent.

        >>> ACCURACY.in_its_unit(0.005), LOSS.in_its_unit(0.5)
        (0.5, 0.5)
        """
        return self.shown(difference)

    def as_stored(self, difference: float) -> float:
        """What :meth:`in_its_unit` shows so.

        >>> ACCURACY.as_stored(0.5), LOSS.as_stored(0.5)
        (0.005, 0.5)
        """
        return difference / 100 if self.unit == PERCENT else difference

    @property
    def stored_margin(self) -> float | None:
        """Its own margin as values are stored."""
        return None if self.margin is None else self.as_stored(self.margin)

    def margin_refused(self, margin: float) -> str:
        """Why no difference of the metric is as large as this margin; empty where one may be.

        >>> ACCURACY.margin_refused(0.5), ACCURACY.margin_refused(100)
        ('', 'accuracy lies between 0 and 100 %, so that no difference is larger than 100 points')
        """
        low, high = (self.shown(bound) for bound in self.bounds)
        if not margin >= high - low:
            return ""
        unit, points = f" {self.unit}".rstrip(), f" {self.difference_unit}".rstrip()
        return (
            f"{self.title} lies between {low:g} and {high:g}{unit}, so that no difference is larger than "
            f"{high - low:g}{points}"
        )

    def value(self, value: float, beside: float = math.nan) -> str:
        """Write a value, in the decimals of one that it stands beside.

        >>> ACCURACY.value(0.9731), LOSS.value(0.12345), LOSS.value(123.45)
        ('97.31', '0.1235', '123.45')
        """
        return fixed(self.shown(value), self._decimals(value, beside))

    def said(self, value: float) -> str:
        """Write a value with its unit.

        >>> ACCURACY.said(0.9731), LOSS.said(3.2)
        ('97.31 %', '3.200')
        """
        return f"{self.value(value)} {self.unit}".rstrip()

    def detectable(self, size: float, beside: float = math.nan) -> str:
        """Write the smallest difference that can be seen, given in its unit; none where it is larger than any.

        >>> ACCURACY.detectable(1.93), ACCURACY.detectable(122.4)
        ('1.93', 'none')
        """
        return NONE if self.margin_refused(size) else self.value(self.as_stored(size), beside)

    def difference(self, value: float, beside: float = math.nan) -> str:
        """Write a difference with its sign, in the decimals of the value that it stands beside.

        >>> ACCURACY.difference(0.01), LOSS.difference(-0.5, beside=123.4)
        ('+1.00', '−0.50')
        """
        return fixed(self.shown(value), self._decimals(value, beside), signed=True)

    def difference_said(self, value: float, beside: float = math.nan) -> str:
        """Write a difference with its unit.

        >>> ACCURACY.difference_said(0.01)
        '+1.00 points'
        """
        return f"{self.difference(value, beside)} {self.difference_unit}".rstrip()

    def span(self, low: float, high: float, beside: float = math.nan) -> str:
        """Write the two ends of an interval, or a dash where it does not exist.

        >>> ACCURACY.span(0.97, 0.98), ACCURACY.span(math.nan, math.nan)
        ('97.00 to 98.00', '–')
        """
        return between(self.value(low, beside), self.value(high, beside))

    def difference_span(self, low: float, high: float, beside: float = math.nan) -> str:
        """Write the two ends of a difference's interval, or a dash where it does not exist."""
        return between(self.difference(low, beside), self.difference(high, beside))

    def mean(self, found: Interval) -> str:
        """Write a mean with its interval.

        >>> from limen.lab.statistics import Interval
        >>> ACCURACY.mean(Interval(0.975, 0.97, 0.98)), ACCURACY.mean(Interval(0.975, math.nan, math.nan))
        ('97.50 (97.00 to 98.00)', '97.50')
        """
        return with_span(self.value(found.mean), self.span(found.low, found.high))

    def mean_difference(self, found: Interval, beside: float = math.nan) -> str:
        """Write a mean difference with its interval.

        >>> from limen.lab.statistics import Interval
        >>> ACCURACY.mean_difference(Interval(0.01, -0.01, 0.03))
        '+1.00 (−1.00 to +3.00)'
        """
        return with_span(self.difference(found.mean, beside), self.difference_span(found.low, found.high, beside))

    def given_in(self, decimals: int) -> Metric:
        """The same, shown in the decimals of values that are given in so many; of a percentage in one or more.

        >>> ACCURACY.given_in(3).value(0.918), ACCURACY.given_in(4).value(0.9185), ACCURACY.given_in(1).value(0.9)
        ('91.8', '91.85', '90.0')
        """
        return replace(self, decimals=max(1, decimals - 2) if self.unit == PERCENT else decimals)

    def _decimals(self, value: float, beside: float) -> int:
        if self.decimals is not None:
            return self.decimals
        if self.unit == PERCENT:
            return 2
        size = max(abs(known) for known in (value, beside, 0.0) if not math.isnan(known))
        return next(decimals for below, decimals in DECIMALS if size < below or below == math.inf)


def fraction(name: str, title: str) -> Metric:
    """A part of 1 of which more is better, shown in percent.

    >>> fraction("dice", "Dice").said(0.85)
    '85.00 %'
    """
    return Metric(name, title, PERCENT, bounds=FRACTION, margin=HALF_A_POINT)


ACCURACY, F1 = fraction("accuracy", "accuracy"), fraction("f1", "F1")
"""Of several tasks."""
LOSS = Metric("loss", "loss", higher_is_better=False)
"""Of every task, each its own; a likelihood's may be below 0."""
EPOCHS = Metric("epochs", "epochs", "epochs", higher_is_better=False, bounds=NOT_NEGATIVE, decimals=1)
"""After how many of them two networks first have a loss that both reach."""
GRADIENT_DEPTH_RATIO = Metric(
    "gradient_depth_ratio", "gradient at the first site over the last", bounds=NOT_NEGATIVE, always=False
)
NORMALITY = Metric("normality", "normality of inputs", bounds=FRACTION)
"""1 less the Kolmogorov distance of the least normal site's inputs from the normal distribution."""
PERCENTILE_AGREEMENT = Metric("percentile_agreement", "agreement with the percentile", bounds=FRACTION)
"""1 less the largest distance of the part of its inputs that an ASH keeps from the part that it means to keep."""
WEIGHT = Metric("weight", "weight", bounds=FRACTION, decimals=3)
LEAD = replace(WEIGHT, decimals=4)
"""Of a mixture's candidates; their differences in a layer are small."""
NORMAL_DISTANCE = Metric("normal_distance", "normal distance", higher_is_better=False, bounds=FRACTION, decimals=3)
THRESHOLD = Metric("z", "z", decimals=3)
PERCENTILE = Metric("percentile", "normal inputs kept, %", bounds=(0.0, 100.0), decimals=1)
KEPT = Metric("kept", "inputs kept, %", bounds=(0.0, 100.0), decimals=1)
"""Of a site, as its record has it."""
OF_EVERY_TASK = (LOSS, GRADIENT_DEPTH_RATIO, NORMALITY, PERCENTILE_AGREEMENT)
"""What a run of any task may note beside the task's own metrics."""
GAP = "discretisation_gap"
"""How much of the measure a search's network loses when it is baked, among its run's metrics."""


def find(name: str, known: Sequence[Metric], whose: str) -> Metric:
    """One of several metrics by its name, which may have ``test_`` before it.

    >>> find("test_f1", (ACCURACY, F1), "a task").title
    'F1'
    >>> find("rmse", (ACCURACY, F1), "a task")
    Traceback (most recent call last):
    limen.errors.SpecError: a task has no metric 'rmse', only accuracy, f1.
    """
    by_name = {metric.name: metric for metric in known}
    found = by_name.get(name.removeprefix("test_"))
    if found is None:
        raise SpecError(f"{whose} has no metric {name!r}, only {', '.join(by_name)}.")
    return found
