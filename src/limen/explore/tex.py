"""The formula of an activation as TeX, from the expression of which everything else is made."""

from __future__ import annotations

from typing import Any

import sympy
from sympy.printing.latex import LatexPrinter

from limen.activations.describe import expression
from limen.activations.registry import find
from limen.formula.symbolic import UntraceableError

DIGITS = 5
"""Of numbers such as √(2/π), of which a reader needs no more."""


def formula(name: str) -> str:
    """A registered activation's formula as TeX; empty where it does not become an expression.

    >>> print(formula("swish"))
    x\\,\\sigma\\left(\\beta\\,x\\right)
    """
    try:
        return tex(expression(find(name)))
    except (UntraceableError, AttributeError):  # a mixture's formula is that of what it mixes
        return ""


def tex(e: Any) -> str:
    """An expression in the functions of :mod:`limen.formula.symbolic` as TeX.

    >>> a, b = sympy.symbols("a b")
    >>> print(tex(b - a))
    b - a
    """
    text: str = _Printer({"mul_symbol": r"\,"}).doprint(e)
    return text


class _Printer(LatexPrinter):  # type: ignore[misc]  # SymPy ships no types
    """SymPy's printer, with the functions of formulas written as mathematics writes them."""

    def _as_ordered_terms(self, e: Any, order: Any = None) -> list[Any]:
        """b - a, not -a + b."""
        terms = super()._as_ordered_terms(e, order)
        first = next((term for term in terms if not term.as_coeff_Mul()[0].is_negative), terms[0])
        return [first, *(term for term in terms if term is not first)]

    def _print_Float(self, e: Any) -> str:  # noqa: N802
        return f"{float(e):.{DIGITS}g}"

    def _print_Symbol(self, e: Any, style: str = "plain") -> str:  # noqa: N802
        head, *tail = e.name.split("_")
        if tail and len(head) > 1 and head not in ("alpha", "beta", "gamma", "rho"):
            return rf"\mathrm{{{e.name.replace('_', ' ').replace(' ', chr(92) + ' ')}}}"
        text: str = super()._print_Symbol(e, style)
        return rf"\mathrm{{{text}}}" if text == e.name and len(text) > 2 else text

    def _print_Piecewise(self, e: Any) -> str:  # noqa: N802
        rows = [f"{self._print(value)} & {self._case(condition)}" for value, condition in e.args]
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"

    def _case(self, condition: Any) -> str:
        return r"\text{otherwise}" if condition == sympy.true else rf"\text{{for }} {self._print(condition)}"

    def _print_Function(self, e: Any, exp: Any = None) -> str:  # noqa: N802
        name, operands = type(e).__name__, [self._print(operand) for operand in e.args]
        template = _TEX.get(name, rf"\operatorname{{{name}}}\left({{}}\right)")
        text = template.replace("{}", ", ".join(operands))
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


_TEX = {
    "exp": "e^{{}}", "expm1": r"\left(e^{{}} - 1\right)", "log": r"\ln\left({}\right)",
    "log1p": r"\ln\left(1 + {}\right)", "sigmoid": r"\sigma\left({}\right)",
    "sigmoid_slope": r"\sigma'\left({}\right)", "tanh": r"\tanh\left({}\right)",
    "tanh_slope": r"\tanh'\left({}\right)", "softplus": r"\mathrm{softplus}\left({}\right)",
    "erf": r"\mathrm{erf}\left({}\right)", "sin": r"\sin\left({}\right)", "cos": r"\cos\left({}\right)",
    "absolute": r"\left|{}\right|", "sign": r"\mathrm{sign}\left({}\right)", "step": r"H\left({}\right)",
    "maximum": r"\max\left({}\right)", "minimum": r"\min\left({}\right)", "mean": r"\mu_{{}}", "std": r"s_{{}}",
    "rms": r"\mathrm{rms}\left({}\right)",
}  # fmt: skip
"""How each function is written; braces stand for its arguments."""
