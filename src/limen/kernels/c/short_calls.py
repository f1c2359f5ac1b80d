"""Calls on a few elements, where asking the tensors takes longer than the arithmetic.

A short call takes the input, the parameters (or logits in the place of weights) and room for the statistics of each
sample (or None), and gives the result; None where it is not for it: too many elements, another layout, a parameter a
channel, a type other than float32. It is made in C against Python's own interface where Python's header is installed,
else in Python.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sysconfig
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limen.kernels.bound import BoundFormula
from limen.kernels.c import build
from limen.kernels.c.calls import SERIAL_BELOW, short_functions
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
    if not _header().is_file() and not build.find_compiler().gone:
        return f"Python's header is not installed ({_header()})"
    if _maker() is not None:
        return ""
    return (
        "they were not built while there was a compiler"
        if build.find_compiler().gone
        else "the compiler cannot build them"
    )


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
    # Where the compiler is gone, the header may be too: what was built with it is as good.
    there = _header().is_file() or build.find_compiler().gone
    if platform.python_implementation() != "CPython" or not there:
        return None
    own = resources.files("limen.kernels.c").joinpath("short_call.h").read_text(encoding="utf-8")
    # The build of Python is in the source, because the cache tells libraries apart by their source.
    source = f'/* {sysconfig.get_config_var("SOABI")} */\n#include "{_header()}"\n#include <stdint.h>\n{own}'
    try:
        library = build.load(source, "short_call")
    except build.NoCompilerError:
        return None
    functions = ctypes.PyDLL(library._name, handle=library._handle)
    functions.learn.argtypes, functions.learn.restype = [ctypes.py_object] * 5, ctypes.c_int
    try:
        functions.learn(torch.float32, torch.strided, Tensor, torch.nn.Parameter, torch.empty_like)
    except (AttributeError, TypeError):
        return None  # a torch whose tensors are asked in other ways
    make = functions.short_call_of
    make.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_int]
    make.restype = ctypes.py_object
    return make


def _header() -> Path:
    return Path(sysconfig.get_paths()["include"]) / "Python.h"
