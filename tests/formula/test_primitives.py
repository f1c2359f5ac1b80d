"""Every primitive in a formula of its own: the kernel, the plain path in float64 and the expression agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import sympy
import torch
from helpers import thoroughly
from helpers_functions import ANY, OF_ONE_NUMBER, SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

import limen
from limen import formula as f
from limen.formula import primitives, symbolic
from limen.formula.stable import lower
from limen.formula.symbolic import UntraceableError, symbol, trace
from limen.kernels import dispatch
from limen.kernels.bound import BoundFormula, derive


def scaled(name: str) -> Callable[..., Any]:
    """A function of one number, of the input times the parameter."""
    return lambda x, k: getattr(f, name)(k * x)


FORMULAS = {
    **{name: (scaled(name), domain.usual) for name, domain in OF_ONE_NUMBER.items()},
    "exp of a square": (lambda x, k: f.exp(-k * x**2), ANY),
    "exp below 0": (lambda x, k: x * f.exp(k * f.minimum(x, 0)), ANY),
    "expm1 below 0": (lambda x, k: f.where(x > 0, k * x, f.expm1(f.minimum(x, 0))), ANY),
    "one over a root": (lambda x, k: x / f.sqrt(k + x**2), ANY),
    "absolute": (lambda x, k: x * f.absolute(x - k), ANY),
    "sign": (lambda x, k: k * f.sign(x) * x**2, ANY),
    "both sigmoids": (lambda x, k: f.sigmoid(k * x) - f.sigmoid(-k * x), ANY),
    "mish of a mixture": (lambda x, k: x * f.tanh(f.softplus(k * x)) + f.sigmoid(k * x), ANY),
    "tanh of softplus": (lambda x, k: f.tanh(k * f.softplus(x, 2.5)), ANY),
    "sin and cos": (lambda x, k: f.sin(k * x) * f.cos(x), SMALL),
    "step": (lambda x, k: x * f.step(x - k), ANY),
    "maximum": (lambda x, k: f.maximum(x, k * x), ANY),
    "minimum": (lambda x, k: f.minimum(k * x, 2.0), ANY),
    "cubic": (lambda x, k: k * x**3 - x**2 / 3 + 1, SMALL),
    "rational": (lambda x, k: (1 + k * x) / (1 + x**2), ANY),
    "negative power": (lambda x, k: (1 + x**2) ** -2 * k, SMALL),
    "three pieces": (lambda x, k: f.where(x > 1, 1 + k * (x - 1), f.where(x < -1, -1 + k * (x + 1), x)), SMALL),
    "between": (lambda x, k: f.where((x > -1) & (x < 1), k * x, 0.0), SMALL),
    "python's abs": (lambda x, k: abs(k * x), ANY),
}


COMPILED_QUICKLY = (
    *("exp below 0", "one over a root", "mish of a mixture", "tanh of softplus", "step", "negative power"),
    *("three pieces", "between"),
)
"""Each takes a second to compile; the others are thorough."""


def test_every_primitive_is_in_a_formula():
    traced = [trace(function, {}, ("k",)) for function, _ in FORMULAS.values()]
    found = {part.func.__name__ for e in traced for part in sympy.preorder_traversal(e)}
    as_sympy_has_them = {"where": "Piecewise", "sqrt": "Pow"}
    elsewhere = {"mean", "std", "rms", "over_rms", "uniform"}  # of samples and of noise
    assert {as_sympy_has_them.get(name, name) for name in primitives.__all__} - elsewhere <= found


@pytest.mark.parametrize("name", thoroughly(FORMULAS, usual=COMPILED_QUICKLY))
@settings(deadline=None, max_examples=15)
@given(data=st.data(), sixteenths=st.integers(4, 32))
def test_kernel_agrees_with_float64(name, data, sixteenths):
    function, (low, high) = FORMULAS[name]
    values = data.draw(st.lists(st.floats(low, high, width=32), min_size=1, max_size=9))
    bound, k = BoundFormula(function, ("k",)), sixteenths / 16
    # Off the kinks, which lie at multiples of 1/16: there a rounding decides between two slopes.
    x = (8 * torch.tensor(values, dtype=torch.float32)).round() / 8 + 0.0137
    # Upstream gradients that give all terms of the parameter's gradient one sign: a sum in which they cancel would say
    # nothing about the kernel.
    each = torch.full(x.shape, k, dtype=torch.float64, requires_grad=True)
    (terms,) = torch.autograd.grad(torch.as_tensor(function(x.double(), each)).sum(), each)
    g = torch.where(terms < 0, -1.0, 1.0)
    found = []
    for backend, dtype in (("c", torch.float32), ("plain", torch.float32), ("plain", torch.float64)):
        leaf, parameter = x.to(dtype).requires_grad_(), torch.tensor([k], dtype=dtype, requires_grad=True)
        with limen.use_backend(backend):
            y = dispatch.evaluate(bound, leaf, (parameter,), 1)
        found.append([y, *torch.autograd.grad(y, [leaf, parameter], g.to(dtype))])
    for ours, torchs, want in zip(*found, strict=True):
        allowed = 4 * (torchs.double() - want).abs().max() + 4e-6 * want.abs() + 3e-6 * (1 + want.abs().max())
        assert ((ours.double() - want).abs() <= allowed).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_second_expression_derivative_is_the_derivative_of_the_first(name):
    """The rules of differentiation compose: checked by lowering the second derivative, which must exist."""
    function, _ = FORMULAS[name]
    try:
        graph, outputs = lower([trace(function, {}, ("k",)).diff(symbol("x"), 2)])
    except UntraceableError as error:
        pytest.fail(f"{name}: {error}")
    assert graph.live(outputs)


def count(graph, outputs, op):
    return sum(graph.nodes[index].op == op for index in graph.live(outputs))


class TestSharing:
    """What makes the kernels fast, as counts of the operations that cost."""

    X, K = symbol("x"), symbol("k")

    def test_a_function_and_its_slope_share_one_exponential_and_one_division(self):
        for e in (self.X * f.sigmoid(self.K * self.X), self.X * f.tanh(f.softplus(self.X))):
            graph, outputs = lower([e, e.diff(self.X)])
            assert count(graph, outputs, "exp_neg") == 1
            assert count(graph, outputs, "div") == 1
            assert count(graph, outputs, "log1p_unit") == 0

    def test_mirrored_arguments_share(self):
        graph, outputs = lower([f.sigmoid(self.X - self.K), f.sigmoid(self.K - self.X), f.softplus(self.K - self.X)])
        assert count(graph, outputs, "exp_neg") == 1

    def test_adact_needs_one_exponential_for_seven_candidates_and_their_gradients(self):
        bound = limen.AdAct().bind(training=False)
        derivation = derive(bound, bound.parameters)
        outputs = [node for _, node in derivation.slopes]
        assert count(derivation.backward, outputs, "exp_neg") == 1
        assert count(derivation.backward, outputs, "div") == 1

    def test_of_a_square_one_factor_is_shared(self):
        """σ·(1 − tanh²(softplus(x))) has a closed form, and σ² times that has one σ more."""
        slope = symbolic.tanh_slope(symbolic.softplus(self.X))
        _, (once, twice) = lower([symbolic.sigmoid(self.X) * slope, symbolic.sigmoid(self.X) ** 2 * slope])
        assert once != twice

    def test_two_small_reciprocals_come_from_one_division(self):
        graph, outputs = lower([f.sigmoid(self.X) + f.sigmoid(2 * self.X)])
        assert count(graph, outputs, "div") == 1

    def test_a_sigmoid_written_out_is_one(self):
        """x/(1 + e^−x): by parts, its slope at −88 would be ∞/∞."""
        bound = BoundFormula(lambda x, k: k * x / (1 + f.exp(-x)), ("k",))
        x = torch.tensor([-100.0, -88.0, -50.0, 0.5, 100.0], requires_grad=True)
        with limen.use_backend("c"):
            (slope,) = torch.autograd.grad(dispatch.evaluate(bound, x, (torch.ones(1),), 1).sum(), x)
        exact = x.detach().double().requires_grad_()
        (want,) = torch.autograd.grad(torch.nn.functional.silu(exact).sum(), exact)
        torch.testing.assert_close(slope.double(), want, rtol=1e-5, atol=1e-36)  # e^−88 is flushed to 0

    def test_a_vanishing_factor_meets_each_large_one_by_itself(self):
        """x²·σ'(x) at 1e30 is 0, and 1e30² is infinite in float32."""
        bound = BoundFormula(lambda x, k: x**2 * f.sigmoid(k * x) * f.sigmoid(-k * x), ("k",))
        with limen.use_backend("c"):
            y = dispatch.evaluate(bound, torch.tensor([1e30, -1e30]), (torch.ones(1),), 1)
        assert y.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (lambda x: x ** math.pi, "power"),
        (lambda x: x * x.mean(), "mean"),
        (lambda x: f.mean(x**2) + x, "statistics of something other than its input"),
        (lambda x: x + f.uniform(x), "draws noise itself"),
    ],
)  # fmt: skip
def test_what_has_no_kernel_says_why(formula, reason):
    with pytest.raises(UntraceableError, match=reason):
        derive(BoundFormula(formula), ())
