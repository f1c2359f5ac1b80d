"""A formula's kernels in C: compiled when first needed, called on CPU tensors of float32 and half types."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limen.kernels.bound import BoundFormula, derive
from limen.kernels.c import build
from limen.kernels.c import places as c_places
from limen.kernels.c import several as c_several
from limen.kernels.c import source as c_source
from limen.kernels.call import Prepared

DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}

SIZES = 5
"""Those of a plan."""
MORE_SIZES = 7
"""And how far apart rows begin, in several inputs and in their gradients."""
SERIAL_BELOW = 32768
"""Elements under which one thread is faster than waking others; torch's own limit."""


@functools.cache
def forward_function(bound: BoundFormula, dtype: str, layout: str) -> Any:
    """The compiled forward kernel, which raises `NoCompilerError` if it cannot be compiled here.

    Raises:
        UntraceableError: if the formula has no expression.
    """
    source = forward_source(bound, dtype, layout)
    return _loaded(source, _file_name(bound, dtype, layout, "forward"), "forward", 2, bound, layout)


def forward_source(bound: BoundFormula, dtype: str, layout: str) -> str:
    """The C source of a forward kernel."""
    source: str = _printer(bound, layout).forward_source(bound, derive(bound, ()), dtype, layout)
    return source


@functools.cache
def short_functions(bound: BoundFormula, dtype: torch.dtype) -> tuple[Any, Any]:
    """The forward kernel for a few elements in memory order with shared parameters, without noise, on one thread.

    It takes the addresses of input and output, that of two numbers a sample or none, the number of samples (1 for
    formulas without statistics) and of elements in each, and the addresses of the parameters. The second takes logits
    in the place of weights; None for formulas without.
    """
    layout = short_layout(bound)
    source = forward_source(bound, DTYPES[dtype], layout)
    library = build.load(source, _file_name(bound, DTYPES[dtype], layout, "forward"))
    functions = library.forward_short, library.forward_short_of_logits if bound.weights else None
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    for function in functions:
        if function is not None:
            function.argtypes = [pointer, pointer, pointer, whole, whole, pointer]
            function.restype = ctypes.c_int
    return functions


@functools.cache
def backward_function(bound: BoundFormula, dtype: str, layout: str, wanted: tuple[str, ...]) -> Any:
    """The compiled backward kernel, for the gradients of the input and of the wanted parameters."""
    source = backward_source(bound, dtype, layout, wanted)
    return _loaded(source, _file_name(bound, dtype, layout, "backward"), "backward", 4, bound, layout)


def backward_source(bound: BoundFormula, dtype: str, layout: str, wanted: tuple[str, ...]) -> str:
    """The C source of a backward kernel."""
    source: str = _printer(bound, layout).backward_source(bound, derive(bound, wanted), dtype, layout)
    return source


def short_layout(bound: BoundFormula) -> str:
    """The layout of the kernel that has the functions for a few elements."""
    return "sample" if bound.contexts else "shared"


def _printer(bound: BoundFormula, layout: str) -> Any:
    """The module that prints a kernel."""
    if layout == "place":
        return c_places
    return c_several if bound.beside or layout == "channel" else c_source


def _loaded(source: str, name: str, part: str, tensors: int, bound: BoundFormula, layout: str) -> Any:
    """The function, or what raises where it cannot be built: to print the source again for that takes milliseconds."""
    try:
        function = getattr(build.load(source, name), part)
    except build.NoCompilerError as error:
        return functools.partial(_raise, str(error))
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    sizes = MORE_SIZES if _printer(bound, layout) is c_several else SIZES
    tensors += len(bound.beside) * tensors // 2
    function.argtypes = [pointer] * (tensors + 1) + [whole] * sizes + [pointer, ctypes.c_int, pointer]
    function.restype = ctypes.c_int
    return function


def _raise(sentence: str, *_: Any) -> None:
    raise build.NoCompilerError(sentence)


def _file_name(bound: BoundFormula, *parts: str) -> str:
    name = "".join(letter if letter.isalnum() else "_" for letter in bound.name)[-40:]
    return "-".join([name, *parts])


def run_forward(given: Prepared) -> tuple[Tensor, Tensor | None]:
    """The result, laid out as ``x``, and the statistics of each sample if the formula takes any."""
    plan, x = given.plan, given.x
    function = forward_function(given.bound, DTYPES[x.dtype], plan.layout)
    y = torch.empty_like(x)
    sampled = plan.layout in ("sample", "place")
    statistics = torch.empty(plan.outer, 2, dtype=torch.float32, device="cpu") if sampled else None
    _call(function, (x, y), statistics, given)
    return y, statistics


def run_backward(
    given: Prepared, g: Tensor, statistics: Tensor | None, wanted: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """The gradient of ``x``, and those of the wanted parameters as (wanted, channels) in float32.

    ``g`` is laid out as ``x``.
    """
    plan, x = given.plan, given.x
    function = backward_function(given.bound, DTYPES[x.dtype], plan.layout, wanted)
    gx = torch.empty_like(x)
    grads = torch.empty((len(wanted), plan.channels), dtype=torch.float32, device="cpu")
    _call(function, (g, x, gx, grads), statistics, given)
    return gx, grads


def run_forward_several(given: Prepared) -> tuple[Tensor, Tensor | None]:
    """:func:`run_forward` of a formula of several inputs: the result lies densely."""
    plan, x = given.plan, given.x
    function = forward_function(given.bound, DTYPES[x.dtype], plan.layout)
    y = torch.empty_like(x)
    sampled = plan.layout in c_several.SAMPLED
    statistics = torch.empty(plan.outer, 2, dtype=torch.float32, device="cpu") if sampled else None
    _call(function, (x, *given.beside, y), statistics, given, (given.pitch, 0))
    return y, statistics


def run_forward_into(given: Prepared, y: Tensor) -> None:
    """:func:`run_forward_several` of a formula without statistics, into a tensor, which may be one of the inputs."""
    function = forward_function(given.bound, DTYPES[y.dtype], given.plan.layout)
    _call(function, (given.x, *given.beside, y), None, given, (given.pitch, 0))


def run_backward_several(
    given: Prepared, g: Tensor, statistics: Tensor | None, wanted: tuple[str, ...], into: Sequence[Tensor], pitch: int
) -> Tensor:
    """The gradients of the wanted parameters as (wanted, channels) in float32; those of all inputs go ``into`` tensors.

    ``g`` lies densely, ``into`` in rows that begin ``pitch`` apart.
    """
    plan, x = given.plan, given.x
    function = backward_function(given.bound, DTYPES[x.dtype], plan.layout, wanted)
    grads = torch.empty((len(wanted), plan.channels), dtype=torch.float32, device="cpu")
    _call(function, (g, x, *given.beside, *into, grads), statistics, given, (given.pitch, pitch))
    return grads


_NO_MEMORY = "no memory for the partial sums over {} elements."


def threads_for(elements: int) -> int:
    """How many threads share so many elements."""
    return 1 if elements < SERIAL_BELOW or _forked else torch.get_num_threads()


_forked = False
"""In a forked child OpenMP's threads are gone, and a parallel region would wait for them for ever."""


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _call(
    function: Any,
    tensors: Sequence[Tensor],
    statistics: Tensor | None,
    given: Prepared,
    pitches: tuple[int, ...] = (),
) -> None:
    values, elements = given.values, given.x.numel()
    places = [tensor.data_ptr() for tensor in (*tensors, *values)]
    if not all(places) and not all(tensor.data_ptr() or not tensor.numel() for tensor in (*tensors, *values)):
        raise RuntimeError("a kernel was given a tensor without memory, such as one of a mode that makes fakes.")
    failed = function(
        *places[: len(tensors)],
        None if statistics is None else statistics.data_ptr(),
        *given.plan.sizes,
        *pitches,
        None if given.seed is None else given.seed.data_ptr(),
        threads_for(elements),
        (ctypes.c_void_p * len(values))(*places[len(tensors) :]),
    )
    if failed:
        raise MemoryError(_NO_MEMORY.format(elements))
