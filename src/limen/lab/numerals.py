"""How numbers are written, and rounded to be stored. A number that does not exist is an en dash, never "nan"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

MISSING = "–"
MINUS = "\N{MINUS SIGN}"
NARROW = "\N{NARROW NO-BREAK SPACE}"
STORED = 6
"""Significant digits of what is noted in many numbers: curves, shapes, weights."""


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


def plain(text: str) -> str:
    """A written number as terminals and other programs have it, with a hyphen for the minus.

    >>> plain(fixed(-1.256))
    '-1.26'
    """
    return text.replace(MINUS, "-")


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


def between(low: str, high: str) -> str:
    """Write an interval, or a dash where it does not exist.

    >>> between("3.1", "3.7"), between(MISSING, MISSING)
    ('3.1 to 3.7', '–')
    """
    return MISSING if MISSING in (low, high) else f"{low} to {high}"


def with_span(mean: str, span: str) -> str:
    """Write a number with its interval, and alone where that does not exist.

    >>> with_span("3.4", "3.1 to 3.7"), with_span("3.4", MISSING)
    ('3.4 (3.1 to 3.7)', '3.4')
    """
    return mean if span == MISSING else f"{mean} ({span})"


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


def stored(value: float) -> float:
    """A number as it is noted, in six significant digits.

    >>> stored(0.123456789)
    0.123457
    """
    return float(f"{value:.{STORED}g}")


def stored_fields(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A record's fields as they are noted: its numbers in six significant digits."""
    return {name: stored(value) if isinstance(value, float) else value for name, value in fields}


def finite(value: Any) -> Any:
    """Data as JSON can hold them, in which NaN and infinity are null.

    >>> finite({"mean": math.nan, "ends": (0.5, math.inf)})
    {'mean': None, 'ends': [0.5, None]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
