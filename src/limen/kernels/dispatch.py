"""Which path runs a formula here and now, and the choice of it by the user.

The compiled path is taken where it means exactly what the formula means: CPU tensors of float32 or a half type, in
eager mode or as one opaque operator inside ``torch.compile``. Under functorch transforms, forward-mode
differentiation, export and tracing, and for every other tensor, the plain formula runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from limen.errors import LimenError, SpecError, suggest
from limen.kernels import eager, plain
from limen.kernels.bound import BoundFormula, key_of
from limen.kernels.plain import HALF_TYPES

__all__ = ["use_backend"]

Backend = Literal["auto", "plain", "c", "triton"]

_COMPILED_TYPES = frozenset({torch.float32, *HALF_TYPES})
_ORDINARY = (Tensor, torch.nn.Parameter)

_functorch_stack = torch._C._functorch.peek_interpreter_stack
_tracing_state = torch._C._get_tracing_state

_chosen: Backend = "auto"
_refused: dict[BoundFormula, str] = {}
"""Formulas found to have no kernel, and why."""
_compiler_trouble: list[str] = []


@contextmanager
def use_backend(name: Backend) -> Iterator[None]:
    """Run activations by one path within a ``with`` block: ``auto``, ``plain``, ``c`` or ``triton``.

    ``auto`` takes the compiled kernels where they mean exactly the formula, else torch's operators (``plain``). ``c``
    insists on the compiled CPU kernels, and raises where they cannot run.

    >>> import limen
    >>> with use_backend("plain"):
    ...     limen.ASAU()(torch.zeros(2)).tolist()
    [0.0, 0.0]
    """
    global _chosen
    if name not in get_args(Backend):
        raise SpecError(f"no backend is called {name!r}. {suggest(str(name), get_args(Backend))}")
    if name == "triton":
        raise LimenError("this version has no Triton kernels; use 'auto', 'c' or 'plain'.")
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def evaluate(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Run the formula on ``x`` with its tensors, each of one value or of one a channel."""
    if is_compiling():
        return _evaluate_compiling(bound, x, parameters, channel_dim)
    may = x.is_cpu and x.dtype in _COMPILED_TYPES and _chosen != "plain" and _is_eager(x)
    # A function kept for few elements shows that there is a kernel, at the price of a look.
    if may and (bound.few or _has_kernel(bound)):
        return eager.evaluate(bound, x, parameters, channel_dim)
    if _chosen == "c" and x.numel() > 0:
        raise LimenError(_why_not_c(bound, x))
    return plain.evaluate(bound, x, parameters, channel_dim)


def _evaluate_compiling(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Inside ``torch.compile`` the kernel is one opaque operator; an exported program sees the plain formula."""
    if not torch.compiler.is_exporting() and x.is_cpu and x.dtype in _COMPILED_TYPES:
        key: str = _kernel_key(bound)
        if key:
            from limen.kernels import operators

            return operators.evaluate(key, x, parameters, channel_dim, bool(bound.noise))
    return plain.evaluate(bound, x, parameters, channel_dim)


def _kernel_key(bound: BoundFormula) -> str:
    """The formula's key if its kernel may be used; asked once, when the program is compiled."""
    transformed = _functorch_stack() is not None or forward_ad._current_level >= 0
    return key_of(bound) if _chosen != "plain" and not transformed and _has_kernel(bound) else ""


# What torch.compiler.assume_constant_result does; calling it would import torch._dynamo with every limen.
_kernel_key._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _is_eager(x: Tensor) -> bool:
    """Whether plain tensors flow, with nothing between us and their memory."""
    return (
        type(x) in _ORDINARY
        and _functorch_stack() is None
        and forward_ad._current_level < 0
        and _tracing_state() is None
        and x.layout is torch.strided
        and not x.is_neg()  # a view whose memory has the opposite sign
        and x.numel() > 0
    )


def _has_kernel(bound: BoundFormula) -> bool:
    """Whether the formula can be compiled here; says once why not."""
    if bound in _ready:
        return True
    if bound in _refused:
        return False
    reason = _try(bound)
    if not reason:
        _ready.add(bound)
        return True
    _refused[bound] = reason
    return False


_ready: set[BoundFormula] = set()


def _try(bound: BoundFormula) -> str:
    """Derive the formula and find a compiler; return why there can be no kernel, or nothing."""
    if bound.plain_only:
        return bound.plain_only
    from limen.formula.symbolic import UntraceableError
    from limen.kernels import build
    from limen.kernels.bound import derive

    try:
        derive(bound, ())
    except UntraceableError as error:
        warnings.warn(f"{bound.name} runs on torch's operators, without a kernel: {error}.", stacklevel=5)
        return str(error)
    try:
        build.find_compiler()
    except build.NoCompilerError as error:
        if not _compiler_trouble:
            _compiler_trouble.append(str(error))
            warnings.warn(f"limen runs on torch's operators, without kernels: {error}", stacklevel=5)
        return str(error)
    return ""


def _why_not_c(bound: BoundFormula, x: Tensor) -> str:
    if bound in _refused:
        return f"{bound.name} has no compiled kernel: {_refused[bound]}; use the backend 'auto' or 'plain'."
    return (
        f"the compiled kernels take CPU tensors of float32, bfloat16 or float16 in eager mode, and the input is "
        f"{x.dtype} on {x.device} with {x.numel()} elements; use the backend 'auto' or 'plain'."
    )


def why_no_kernel(bound: BoundFormula) -> str:
    """Why a formula has no kernel here; empty if it has one."""
    return "" if _has_kernel(bound) else _refused[bound]
