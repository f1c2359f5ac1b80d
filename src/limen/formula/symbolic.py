"""Formulas as SymPy expressions.

Every primitive is a function of its own here, with a derivative made of primitives that neither overflow nor cancel;
SymPy's functions of the same names would rewrite one another (e^a·e^b, 1 − tanh²) in ways that do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy
from sympy import S

from limen.errors import LimenError


class UntraceableError(LimenError):
    """A formula does not become an expression; it runs on the plain path."""


class StatisticError(UntraceableError):
    """A formula takes a statistic that no kernel has; it heeds masks as those do that have one."""


class Elementary(sympy.Function):
    """A function of one number that is an operation of graphs by itself, under its own name."""


class exp(sympy.Function):
    """e^u."""

    def fdiff(self, argindex: int = 1) -> Any:
        """e^u."""
        return exp(self.args[0])


class expm1(sympy.Function):
    """e^u − 1."""

    def fdiff(self, argindex: int = 1) -> Any:
        """e^u."""
        return exp(self.args[0])


class log(Elementary):
    """Natural logarithm."""

    def fdiff(self, argindex: int = 1) -> Any:
        """1/u."""
        return 1 / self.args[0]


class log1p(Elementary):
    """ln(1 + u)."""

    def fdiff(self, argindex: int = 1) -> Any:
        """1/(1 + u)."""
        return 1 / (1 + self.args[0])


class sign(Elementary):
    """−1, 0 or 1."""

    def fdiff(self, argindex: int = 1) -> Any:
        """0: the jump has no slope anywhere else."""
        return S.Zero


class absolute(sympy.Function):
    """|u|."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The sign."""
        return sign(self.args[0])


class sigmoid(sympy.Function):
    """1 / (1 + e^−u)."""

    def fdiff(self, argindex: int = 1) -> Any:
        """σ(u)·σ(−u)."""
        return sigmoid_slope(self.args[0])


class sigmoid_slope(sympy.Function):
    """σ(u)·σ(−u), which does not cancel for large u."""

    def fdiff(self, argindex: int = 1) -> Any:
        """−σ(u)·σ(−u)·tanh(u/2), without the cancellation of 1 − 2σ(u) near 0."""
        return -sigmoid_slope(self.args[0]) * tanh(self.args[0] / 2)


class tanh(sympy.Function):
    """Hyperbolic tangent."""

    def fdiff(self, argindex: int = 1) -> Any:
        """1 − tanh²(u)."""
        return tanh_slope(self.args[0])


class tanh_slope(sympy.Function):
    """1 − tanh²(u), which does not cancel for large u."""

    def fdiff(self, argindex: int = 1) -> Any:
        """−2·tanh(u)·(1 − tanh²(u))."""
        return -2 * tanh(self.args[0]) * tanh_slope(self.args[0])


class softplus(sympy.Function):
    """ln(1 + e^u)."""

    def fdiff(self, argindex: int = 1) -> Any:
        """σ(u)."""
        return sigmoid(self.args[0])


class erf(Elementary):
    """Error function."""

    def fdiff(self, argindex: int = 1) -> Any:
        """2/√π·e^(−u²)."""
        return 2 / sympy.sqrt(sympy.pi) * exp(-(self.args[0] ** 2))


class sin(Elementary):
    """Sine."""

    def fdiff(self, argindex: int = 1) -> Any:
        """Cosine."""
        return cos(self.args[0])


class cos(Elementary):
    """Cosine."""

    def fdiff(self, argindex: int = 1) -> Any:
        """−sine."""
        return -sin(self.args[0])


class step(sympy.Function):
    """1 where u ≥ 0, else 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        """0: the jump has no slope anywhere else."""
        return S.Zero


class maximum(sympy.Function):
    """The larger of u and v; at a tie the gradient goes to u."""

    def fdiff(self, argindex: int = 1) -> Any:
        """1 where this operand is the larger."""
        u, v = self.args
        return _where(u >= v, S.One, S.Zero) if argindex == 1 else _where(u >= v, S.Zero, S.One)


class minimum(sympy.Function):
    """The smaller of u and v; at a tie the gradient goes to u."""

    def fdiff(self, argindex: int = 1) -> Any:
        """1 where this operand is the smaller."""
        u, v = self.args
        return _where(u <= v, S.One, S.Zero) if argindex == 1 else _where(u <= v, S.Zero, S.One)


class mean(sympy.Function):
    """Mean of the input over its context."""


class std(sympy.Function):
    """Deviation of the input over its context."""


class rms(sympy.Function):
    """Root of the mean square of what is made of the input, over its context, with a number added to the mean."""


class uniform(sympy.Function):
    """Noise from U(0, 1), independent of the input's value."""

    def fdiff(self, argindex: int = 1) -> Any:
        """0."""
        return S.Zero


def _where(condition: Any, u: Any, v: Any) -> Any:
    return sympy.Piecewise((u, condition), (v, True))


def _softplus(u: Any, sharpness: Any = S.One) -> Any:
    return softplus(sharpness * u) / sharpness


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "sqrt": sympy.sqrt,
    "absolute": absolute,
    "sign": sign,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": _softplus,
    "erf": erf,
    "sin": sin,
    "cos": cos,
    "step": step,
    "maximum": maximum,
    "minimum": minimum,
    "where": _where,
    "mean": mean,
    "std": std,
    "rms": rms,
    "uniform": uniform,
}


def apply(name: str, *operands: Any) -> Any:
    """Apply the primitive called ``name`` to symbols."""
    return _FUNCTIONS[name](*operands)


def trace(formula: Callable[..., Any], constants: Mapping[str, Any], symbols: tuple[str, ...]) -> Any:
    """The formula as an expression in the real symbol ``x`` and the named real symbols.

    ``constants`` are passed as they are (a context, a choice of form, a number).

    Raises:
        UntraceableError: if the formula asks more of ``x`` than a symbol can answer.

    >>> from limen.formula import sigmoid
    >>> trace(lambda x, beta: x * sigmoid(beta * x), {}, ("beta",))
    x*sigmoid(beta*x)
    """
    named = {name: symbol(name) for name in symbols}
    try:
        traced = sympy.sympify(formula(symbol("x"), **named, **constants))
    except (TypeError, AttributeError, ValueError, NotImplementedError, sympy.SympifyError) as error:
        raise UntraceableError(f"the formula does not become an expression: {error}") from error
    traced = traced.replace(sympy.Abs, absolute)  # Python's abs() on a symbol
    return traced.replace(_is_written_out_sigmoid, _as_sigmoid)


def _is_written_out_sigmoid(e: Any) -> bool:
    """Whether an expression is (1 + e^u)^−n, whose slope by parts is ∞/∞ for large u."""
    if not (isinstance(e, sympy.Pow) and e.exp.is_Integer and e.exp < 0 and isinstance(e.base, sympy.Add)):
        return False
    terms = e.base.args
    return len(terms) == 2 and S.One in terms and any(isinstance(term, exp) for term in terms)


def _as_sigmoid(e: Any) -> Any:
    (power,) = [term for term in e.base.args if isinstance(term, exp)]
    return sigmoid(-power.args[0]) ** -e.exp


def symbol(name: str) -> Any:
    """The real symbol of that name."""
    return sympy.Symbol(name, real=True)
