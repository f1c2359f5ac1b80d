"""Calls on a few elements, where asking the tensors takes longer than the arithmetic.

A short call takes the input, the parameters (or logits in the place of weights) and room for the statistics of each
sample (or None), and gives the result; None where it is not for it: too many elements, another layout, a parameter a
channel, a type other than float32. It is made in C against Python's stable interface where that can be built, else in
Python.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from limen.kernels.bound import BoundFormula
from limen.kernels.c import build
from limen.kernels.c.calls import SERIAL_BELOW, short_functions
from limen.kernels.c.parts import header
from limen.kernels.layout import ORDINARY, is_plain

ShortCall = Callable[[Tensor, Sequence[Tensor], Tensor | None], Tensor | None]


def suits(bound: BoundFormula) -> bool:
    """Whether a formula can be called shortly: no noise, and statistics over whole samples only."""
    return not bound.noise and all(context.kind == "sample" for context in bound.contexts)


def short_call(bound: BoundFormula, dtype: torch.dtype) -> ShortCall:
    """The short call of a formula for one element type.

    Raises:
        UntraceableError: if the formula has no expression.
    """
    try:
        functions = short_functions(bound, dtype)
    except build.NoCompilerError:
        return _none
    make = _maker()
    if make is None:
        return ByAddress(bound, functions)
    addresses = [function and ctypes.cast(function, ctypes.c_void_p) for function in functions]
    made: ShortCall = make(*addresses, SERIAL_BELOW, len(bound.parameters), bound.weights, bool(bound.contexts))
    return made


def _none(x: Tensor, parameters: Sequence[Tensor], statistics: Tensor | None) -> None:
    """The short call of what could not be built: never for it."""


def why_not_native() -> str:
    """Why short calls are made in Python here; empty if they are made in C."""
    if platform.python_implementation() != "CPython":
        return f"they are written for CPython, and this is {platform.python_implementation()}"
    if _maker() is not None:
        return ""
    try:
        gone = build.find_compiler().gone
    except build.NoCompilerError:
        return "there is no compiler"
    return "they were not built while there was a compiler" if gone else "the compiler cannot build them"


class ByAddress:
    """A short call in Python."""

    def __init__(self, bound: BoundFormula, functions: tuple[Any, Any]) -> None:
        self.function, self.of_logits = functions
        self.parameters, self.weights, self.samples = len(bound.parameters), bound.weights, bool(bound.contexts)

    def __call__(self, x: Tensor, parameters: Sequence[Tensor], statistics: Tensor | None) -> Tensor | None:
        """The result, or None where the call is not for it."""
        function, values = self.function, 1
        if len(parameters) != self.parameters:
            function, values = self.of_logits, self.weights
            if function is None or len(parameters) != self.parameters - self.weights + 1:
                return None
        elements = x.numel()
        if elements >= SERIAL_BELOW or not is_plain(x) or not x.is_contiguous() or (self.samples and x.ndim == 0):
            return None
        places = []
        for parameter in parameters:
            if type(parameter) not in ORDINARY or parameter.dtype is not torch.float32 or not parameter.is_cpu:
                return None
            if not is_plain(parameter) or parameter.numel() != values or not parameter.is_contiguous():
                return None
            places.append(parameter.data_ptr())
            values = 1
        y = torch.empty_like(x)
        outer = len(x) if self.samples else 1
        place = None if statistics is None else statistics.data_ptr()
        pointers = (ctypes.c_void_p * len(places))(*places)
        refused = function(x.data_ptr(), y.data_ptr(), place, outer, elements // outer, pointers)
        return None if refused else y


@functools.cache
def _maker() -> Any:
    """What makes short calls in C; None where it cannot be compiled."""
    if platform.python_implementation() != "CPython":
        return None
    try:
        library = build.load(source(), "short_call")
    except build.NoCompilerError:
        return None
    pointer, whole, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_ssize_t
    # Called with the GIL held, as nothing that a CDLL has is.
    learn = ctypes.PYFUNCTYPE(ctypes.c_int, *[ctypes.py_object] * 5)(_address(library.learn))
    try:
        learn(torch.float32, torch.strided, Tensor, torch.nn.Parameter, torch.empty_like)
    except (AttributeError, TypeError):
        return None  # a torch whose tensors are asked in other ways
    kinds = [pointer, pointer, whole, size, size, ctypes.c_int]
    return ctypes.PYFUNCTYPE(ctypes.py_object, *kinds)(_address(library.short_call_of))


def source() -> str:
    """The C source of what makes short calls."""
    return header("short_call.h")


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
