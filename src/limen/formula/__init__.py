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

from limen.formula import primitives
from limen.formula.context import Context, ContextKind
from limen.formula.primitives import *  # noqa: F403

__all__ = ["Context", "ContextKind", *primitives.__all__]
