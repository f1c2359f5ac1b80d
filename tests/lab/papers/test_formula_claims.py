"""What is computed about the formulas, against plain formulas in NumPy and against formulas that are slightly off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit, ndtri
from scipy.stats import norm

from limen.activations import APALU, ASAU, ASH
from limen.lab.papers.ledger import formulas

GRID = np.linspace(-10, 10, 20_001)
NORMAL = ndtri((np.arange(100_000) + 0.5) / 100_000)


def asau(x: Any, a: float, b: float = 1.0, beta: float = 1.0) -> Any:
    rest = (b - a) * x
    return a * x + rest * np.tanh(np.logaddexp(0, beta * rest))


def apart(a: float, b: float = 1.0) -> list[float]:
    target = np.maximum(a * GRID, b * GRID)
    return [float(np.abs(asau(GRID, a, b, beta) - target).max()) for beta in (1, 10, 100)]


def said(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


@pytest.mark.parametrize(("name", "a"), [("relu", 0.0), ("leaky-relu", 0.01)])
def test_asau_tends_to_two_lines_as_1_over_beta(name: str, a: float):
    values = apart(a)
    found = formulas.check(f"asau-tends-to-{name}")
    assert found.numbers == f"largest distance {said(values)} at β = 1, 10, 100 (times β: {100 * values[2]:.4f})"
    assert found.holds


def test_asau_tends_to_maxout():
    found = formulas.check("asau-tends-to-maxout")
    assert found.numbers == f"largest distance {said(apart(0.3, -0.7))} at β = 1, 10, 100"
    assert found.holds


def test_asau_keeps_what_is_below_0():
    x = np.array([-3.0, -1.0, -0.1])
    values, slopes = asau(x, 0.01), (asau(x + 1e-6, 0.01) - asau(x - 1e-6, 0.01)) / 2e-6
    parts = [
        f"at {at:g} the value is {y:.3f} and the slope {dy:.3f}" for at, y, dy in zip(x, values, slopes, strict=True)
    ]
    found = formulas.check("asau-keeps-negative-inputs")
    assert (found.numbers, found.holds) == ("; ".join(parts), True)


def test_apalus_slopes():
    """Below 0 it is b(exp(x) − 1), above near 0 a(x + x/2): the slopes are b and 1.5a; the least is b exp(−20)."""
    found = formulas.check("apalu-differentiable")
    assert found.numbers == "slopes at 0 with a = 0.55, b = 0.065: 0.065 from the left, 0.825 from the right"
    assert not found.holds
    found = formulas.check("apalu-monotone")
    assert found.numbers.endswith(f": {0.01 * np.exp(-20):.0e}")
    assert found.holds


def test_what_ash_keeps_of_normal_inputs():
    found = formulas.check("ash-keeps-the-percentile")
    assert found.numbers == (
        "kept of normal inputs: 2.50 % at k = 2.5, 10.00 % at k = 10, 50.00 % at k = 50, 90.00 % at k = 90"
    )
    shares = ", ".join(f"{100 * norm.sf(z):.1f} %" for z in (-1.5, -0.5, 0.5, 1.5))
    assert formulas.check("ash-small-z-is-dense").numbers.endswith(shares)
    assert formulas.check("ash-z-of-a-percentile").numbers == f"z = {norm.isf(0.025):.4f} for k = 2.5 %"


def test_ashs_equations():
    x = np.arange(-2.0, 4.0)
    gate = 2 * (x - x.mean() - 1e-3 * x.std())
    printed, ours = (x * expit(-gate)).max(), (x * expit(gate)).max()
    found = formulas.check("ash-equation-11")
    assert f"becomes {printed:.3f} as printed, {ours:.3f} by equation 10" in found.numbers
    assert not found.holds
    gate = 2 * (NORMAL - NORMAL.mean() - 0.3 * NORMAL.std())
    slope = (NORMAL * expit(gate) * expit(-gate) * -2 * NORMAL.std()).mean()
    found = formulas.check("ash-threshold-is-trainable")
    assert found.numbers.endswith(f"does not reach the mean output of equation 7; its gradient in that of equation 10 "
                                  f"is {slope:.3f}")  # fmt: skip
    assert found.holds


def off(monkeypatch: pytest.MonkeyPatch, name: str, cls: Any, **changed: float) -> None:
    monkeypatch.setattr(formulas, name, lambda **given: cls(**{**given, **changed}))


def test_formulas_that_are_off_are_seen(monkeypatch: pytest.MonkeyPatch):
    off(monkeypatch, "ASAU", ASAU, a=0.1)
    x = np.linspace(-50, 50, 20_001)
    found = formulas.check("asau-contains-mish")
    assert found.numbers == f"largest difference {np.abs(asau(x, 0.1) - asau(x, 0.0)).max():.0e}"
    assert not found.holds
    assert not formulas.check("asau-tends-to-relu").holds
    assert not formulas.check("asau-tends-to-maxout").holds
    off(monkeypatch, "ASH", ASH, alpha=0.6)
    x = NORMAL - NORMAL.mean()
    found = formulas.check("ash-contains-swish")
    assert found.numbers.endswith(f": {np.abs(x * expit(1.2 * x) - x * expit(x)).max():.0e}")
    assert not found.holds
    off(monkeypatch, "ASH", ASH, alpha=0.0)  # a gate of a half, whatever z is
    assert not formulas.check("ash-threshold-is-trainable").holds
    off(monkeypatch, "APALU", APALU, b=-0.01)
    assert not formulas.check("apalu-monotone").holds
    off(monkeypatch, "APALU", APALU, a=0.5, b=0.75)
    assert formulas.check("apalu-differentiable").holds


@pytest.mark.parametrize(("share", "holds"), [(0.04, True), (-0.04, True), (0.06, False), (-0.06, False)])
def test_how_near_a_share_must_be(share: float, holds: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(formulas, "_kept", lambda k: k + (share if k == 10 else 0))
    assert formulas.check("ash-keeps-the-percentile").holds == holds


@pytest.mark.parametrize(("z", "holds"), [(1.9641, True), (1.9559, True), (1.9661, False), (1.9539, False)])
def test_how_near_a_threshold_must_be(z: float, holds: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(formulas, "percentile_to_z", lambda k: z)
    assert formulas.check("ash-z-of-a-percentile").holds == holds
