"""Formulas as SymPy expressions.

SymPy knows most of the primitives; those it lacks are defined here, each with a derivative made of primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy
from sympy.codegen.cfunctions import expm1, log1p


class sigmoid(sympy.Function):  # noqa: N801  # printed under the primitive's name
    """1 / (1 + e^−u)."""

    def fdiff(self, argindex: int = 1) -> Any:
        """σ(u)·σ(−u), which does not cancel for large u."""
        return sigmoid(self.args[0]) * sigmoid(-self.args[0])


class softplus(sympy.Function):  # noqa: N801  # printed under the primitive's name
    """ln(1 + e^u)."""

    def fdiff(self, argindex: int = 1) -> Any:
        """σ(u)."""
        return sigmoid(self.args[0])


class step(sympy.Function):  # noqa: N801  # printed under the primitive's name
    """1 where u ≥ 0, else 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        """0: the jump has no slope anywhere else."""
        return sympy.S.Zero


class mean(sympy.Function):  # noqa: N801  # printed under the primitive's name
    """Mean of the input over its context: a statistic, opaque to elementwise rules."""


class std(sympy.Function):  # noqa: N801  # printed under the primitive's name
    """Deviation of the input over its context: a statistic, opaque to elementwise rules."""


class uniform(sympy.Function):  # noqa: N801  # printed under the primitive's name
    """Noise from U(0, 1), independent of the input's value."""

    def fdiff(self, argindex: int = 1) -> Any:
        """0."""
        return sympy.S.Zero


def _where(condition: Any, u: Any, v: Any) -> Any:
    return sympy.Piecewise((u, condition), (v, True))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": sympy.exp,
    "expm1": expm1,
    "log": sympy.log,
    "log1p": log1p,
    "sqrt": sympy.sqrt,
    "absolute": sympy.Abs,
    "sign": sympy.sign,
    "sigmoid": sigmoid,
    "tanh": sympy.tanh,
    "softplus": softplus,
    "erf": sympy.erf,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "step": step,
    "maximum": sympy.Max,
    "minimum": sympy.Min,
    "where": _where,
    "mean": mean,
    "std": std,
    "uniform": uniform,
}


def apply(name: str, *operands: Any) -> Any:
    """Apply the primitive called ``name`` to symbols."""
    return _FUNCTIONS[name](*operands)


def trace(formula: Callable[..., Any], constants: Mapping[str, Any], symbols: tuple[str, ...]) -> Any:
    """The formula as an expression in the real symbol ``x`` and the named real symbols.

    ``constants`` are passed as they are (a context, a choice of form).

    >>> from limen.formula import sigmoid
    >>> trace(lambda x, beta: x * sigmoid(beta * x), {}, ("beta",))
    x*sigmoid(beta*x)
    """
    named = {name: sympy.Symbol(name, real=True) for name in symbols}
    return formula(sympy.Symbol("x", real=True), **named, **constants)
