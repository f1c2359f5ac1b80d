"""Numbers and lists as a reader expects them. A number that does not exist is an en dash, never "nan"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MISSING = "–"
FRACTIONS = ("accuracy", "dice", "iou", "precision", "recall", "auroc", "map")
"""Metrics stored as a fraction of 1 have one of these in their name."""
DECIMALS = ((1.0, 4), (100.0, 3), (10_000.0, 2), (math.inf, 0))
"""Below which size how many decimals are shown of what is no fraction."""
SHORT_NAMES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "dice": "Dice", "iou": "IoU", "miou": "mIoU", "auroc": "AUROC"}
SHORT_NAMES |= {"map50": "mAP@50", "map": "mAP@[.5:.95]", "fid": "FID", "mcc": "MCC", "f1": "F1", "top5": "top-5"}
MINUS = "\N{MINUS SIGN}"
NARROW = "\N{NARROW NO-BREAK SPACE}"


def fixed(value: float, decimals: int = 2, *, signed: bool = False) -> str:
    """Write a number with a fixed number of decimals and a true minus sign.

    >>> fixed(-1.256), fixed(0.5, 1, signed=True), fixed(-0.001), fixed(float("nan"))
    ('−1.26', '+0.5', '0.00', '–')
    """
    if not math.isfinite(value):
        return MISSING
    rounded = round(value, decimals)
    text = f"{abs(rounded):.{decimals}f}"
    if rounded < 0:
        return MINUS + text
    return f"+{text}" if signed and rounded > 0 else text


def significant(value: float, digits: int = 3) -> str:
    """Write a number with that many significant digits; tiny and huge ones as powers of ten.

    >>> significant(1.23456), significant(-12.0), significant(0.0000123), significant(float("inf"))
    ('1.23', '−12', '1.23×10^−5', '–')
    """
    if not math.isfinite(value):
        return MISSING
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    text = f"{mantissa}×10^{int(exponent)}" if exponent else mantissa
    return text.replace("-", MINUS)


def with_unit(text: str, unit: str) -> str:
    """Add the unit to a number, and nothing to a dash.

    >>> with_unit("3.4", " ms"), with_unit(MISSING, " ms")
    ('3.4 ms', '–')
    """
    return text if text == MISSING else text + unit


def whole(value: float) -> str:
    """Write a count with its thousands apart.

    >>> whole(1234567), whole(42)
    ('1\\u202f234\\u202f567', '42')
    """
    return f"{value:,.0f}".replace(",", NARROW) if math.isfinite(value) else MISSING


def probability(p: float) -> str:
    """Write a p value; below a thousandth only that it is.

    >>> probability(0.0312), probability(0.2), probability(1e-6), probability(float("nan"))
    ('0.031', '0.20', '< 0.001', '–')
    """
    if not math.isfinite(p):
        return MISSING
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.095 else f"{p:.2f}"


def listed(items: Sequence[str]) -> str:
    """Join names as a sentence does.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def counted(count: int, noun: str) -> str:
    """Say how many, in the right number.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{whole(count)} {noun}" + ("" if count == 1 else "s")


def one_line(text: str) -> str:
    """Replace whatever cannot be printed, so that a name fits in a line and in XML.

    >>> one_line("a\\tb\\x00c")
    'a b\N{REPLACEMENT CHARACTER}c'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def short(name: str, width: int = 24) -> str:
    """Cut a long name in its middle.

    >>> short("asau"), short("adact:candidates=relu,elu,mish,silu", 16)
    ('asau', 'adact:ca…sh,silu')
    """
    name = one_line(name)
    if len(name) <= width:
        return name
    head = width // 2
    return f"{name[:head]}…{name[head + 1 - width :]}"


@dataclass(frozen=True)
class Scale:
    """How one metric is shown: fractions in percent with differences in points, anything else as it is."""

    metric: str
    size: float = 0.0
    """How large the values are beside which this one stands: a difference has the decimals of what it is between."""

    @property
    def is_accuracy(self) -> bool:
        """Whether the metric is an accuracy."""
        return "accuracy" in self.metric

    @property
    def is_fraction(self) -> bool:
        """Whether the metric is stored as a fraction of 1 and shown in percent."""
        return any(word in self.metric for word in FRACTIONS)

    @property
    def factor(self) -> float:
        """What the stored value is multiplied by."""
        return 100.0 if self.is_fraction else 1.0

    def decimals_of(self, value: float) -> int:
        """Decimals shown of a value: two of a percentage, else fewer the larger it is.

        >>> [Scale("test_rmse").decimals_of(value) for value in (0.5, 3.2, 123.4, 68000.0)]
        [4, 3, 2, 0]
        """
        if self.is_fraction:
            return 2
        size = max(abs(known) for known in (value, self.size, 0.0) if not math.isnan(known))
        return next(decimals for below, decimals in DECIMALS if size < below or below == math.inf)

    @property
    def name(self) -> str:
        """The metric in words: ``test_accuracy`` is "test accuracy", ``test_rmse`` is "test RMSE"."""
        return " ".join(SHORT_NAMES.get(word, word) for word in self.metric.split("_"))

    @property
    def column(self) -> str:
        """The metric as the heading of a terminal's column.

        >>> Scale("test_accuracy").column, Scale("test_rmse").column
        ('accuracy %', 'RMSE')
        """
        return self.name.removeprefix("test ") + (" %" if self.is_fraction else "")

    @property
    def column_title(self) -> str:
        """The metric without its split, with its unit.

        >>> Scale("test_accuracy").column_title
        'accuracy (%)'
        """
        return self.name.removeprefix("test ") + (" (%)" if self.is_fraction else "")

    @property
    def title(self) -> str:
        """The metric as a heading, with its unit."""
        name = self.name[:1].upper() + self.name[1:]
        return f"{name} (%)" if self.is_fraction else name

    @property
    def points(self) -> str:
        """The unit of a difference, with the space before it."""
        return " points" if self.is_fraction else ""

    def value(self, value: float) -> str:
        """Write a value.

        >>> Scale("test_accuracy").value(0.9731), Scale("test_loss").value(0.12345)
        ('97.31', '0.1235')
        """
        return fixed(value * self.factor, self.decimals_of(value))

    def said(self, value: float) -> str:
        """Write a value with its unit.

        >>> Scale("test_accuracy").said(0.9731), Scale("test_rmse").said(3.2)
        ('97.31 %', '3.200')
        """
        return self.value(value) + (" %" if self.is_fraction else "")

    def difference(self, value: float) -> str:
        """Write a difference with its sign."""
        return fixed(value * self.factor, self.decimals_of(value), signed=True)

    def span(self, low: float, high: float, *, signed: bool = False) -> str:
        """Write an interval, or a dash when it does not exist.

        >>> Scale("test_accuracy").span(0.97, 0.98)
        '97.00 to 98.00'
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            return MISSING
        write = self.difference if signed else self.value
        return f"{write(low)} to {write(high)}"
