"""The vocabulary of formulas: functions that act on tensors and on symbols alike.

A formula written with these (and with ``+ - * / **`` and comparisons) is the reference implementation when called
with tensors, and becomes an expression when called with SymPy symbols.

>>> import sympy, torch
>>> def gate(x):
...     return x * tanh(x)
>>> gate(torch.tensor([0.0, 1.0]))
tensor([0.0000, 0.7616])
>>> gate(sympy.Symbol("x"))
x*tanh(x)
"""

from limen.formula.context import Context, ContextKind
from limen.formula.primitives import (
    absolute,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    mean,
    minimum,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    std,
    step,
    tanh,
    uniform,
    where,
)

__all__ = [
    "Context",
    "ContextKind",
    "absolute",
    "cos",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "mean",
    "minimum",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "sqrt",
    "std",
    "step",
    "tanh",
    "uniform",
    "where",
]
