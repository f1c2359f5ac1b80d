"""Which path runs a formula here and now, and the choice of it by the user.

A compiled path is taken where it means exactly what the formula means: tensors of float32 or a half type, C on a CPU
and Triton on a GPU, in eager mode or as one opaque operator inside ``torch.compile``. Under functorch transforms,
forward-mode differentiation, export and tracing, and for every other tensor, the plain formula runs.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from limen.errors import LimenError, SpecError, suggest
from limen.kernels import autograd, choice, operators, plain, several
from limen.kernels.autograd import requires_grad
from limen.kernels.bound import ALWAYS, INTERPRETED, BoundFormula, derive, key_of
from limen.kernels.c import build as c_build
from limen.kernels.c import run as c_run
from limen.kernels.c import shipped
from limen.kernels.call import drawn
from limen.kernels.choice import Backend
from limen.kernels.layout import ORDINARY, is_plain, rejoined
from limen.kernels.noise import new_seed
from limen.kernels.precision import HALF_TYPES
from limen.kernels.remade import Remade, through
from limen.kernels.several import Several
from limen.kernels.triton import build as triton_build
from limen.kernels.triton import run as triton_run
from limen.kernels.weights import spread
from limen.tracing import makes_fakes

__all__ = ["use_backend"]

_COMPILED_TYPES = frozenset({torch.float32, *HALF_TYPES})

_functorch_stack = torch._C._functorch.peek_interpreter_stack
_tracing_state = torch._C._get_tracing_state
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack

GPUS = ("cuda", "xpu")
"""The devices that Triton compiles for; torch calls ROCm's ``cuda`` too."""

compiled_on_gpu: Literal["operator", "inlined"] = "operator"
"""Inside ``torch.compile`` on a GPU: the kernels as one opaque operator, or the formula for Inductor to compile, which
may fuse it with its neighbours. Not decided by measurement yet: benchmarks/gpu.py measures both. The operator saves
only the input, and its numbers are those of eager mode."""


@contextmanager
def use_backend(name: Backend) -> Iterator[None]:
    """Run activations by one path within a ``with`` block: ``auto``, ``plain``, ``c`` or ``triton``.

    A block is its thread's own, and its task's under asyncio, as ``torch.no_grad`` is; other threads compute as before.
    A backward pass uses the kernels of its forward pass, whatever is chosen then. What it computes again (activation
    checkpointing) goes the way chosen where ``backward`` was called, in autograd's own threads too: keep both in the
    block. A compiled program keeps the way that was chosen when it was compiled.

    ``auto`` takes the compiled kernels where they mean exactly the formula, else torch's operators (``plain``). ``c``
    insists on the compiled CPU kernels and ``triton`` on the GPU's, and raises where they cannot run. With
    TRITON_INTERPRET=1 in the environment ``triton`` also takes CPU tensors, slowly, for checking.

    Raises:
        SpecError: for another name.
        LimenError: for ``triton`` where it is not installed or finds no GPU; and by an activation within the block,
            where ``c`` or ``triton`` cannot take its input or has no kernel of its formula.

    >>> import limen
    >>> with use_backend("plain"):
    ...     limen.ASAU()(torch.zeros(2)).tolist()
    [0.0, 0.0]
    """
    if name not in get_args(Backend):
        raise SpecError(f"no backend is called {name!r}. {suggest(str(name), get_args(Backend))}")
    if name == "triton" and (reason := why_no_triton()):
        raise LimenError(f"the backend 'triton' cannot be used: {reason}; use 'auto', 'c' or 'plain'.")
    with choice.of_program(name) if is_compiling() else choice.of_thread(name):
        yield


def evaluate(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Run the formula on ``x`` with its tensors, each of one value or of one a channel.

    In the place of weights that are a softmax, their logits may be given.
    """
    if is_compiling():
        return _evaluate_compiling(bound, x, parameters, channel_dim)
    chosen = choice.chosen() if choice.blocks else "auto"
    if not x.is_cpu or chosen == "triton":
        return _evaluate_by_triton(bound, x, parameters, channel_dim, chosen)
    if chosen != "plain" and is_eager(x):
        recorded = torch.is_grad_enabled() and requires_grad(x, parameters)
        short = bound.short_calls.get(x.dtype)  # where it is there, there is a kernel
        found: Tensor | None = None if recorded or short is None else short(x, parameters, None)
        if found is not None:
            return found
        there = short is not None or (x.dtype in _COMPILED_TYPES and _C.has(bound))
        if there and (chosen == "auto" or is_plain(x)):
            if recorded:
                return autograd.record(c_run, bound, x, parameters, channel_dim)
            if bound.weights and short is None and not bound.noise:
                return c_run.forward(bound, x, parameters, channel_dim, None)[0]  # as later calls will be computed
            return c_run.generally(drawn(bound, x, spread(bound, parameters), channel_dim))[0]
    return _otherwise(bound, x, parameters, channel_dim, chosen)


def _otherwise(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, chosen: Backend
) -> Tensor:
    """What is no tensor for C's kernels as it is."""
    if type(x) is Remade:
        result: Tensor = through(evaluate, bound, x, parameters, channel_dim)
        return result
    if x.is_nested and bound.contexts:
        return _by_sample(bound, x, parameters, channel_dim)
    if chosen == "c" and x.numel() > 0:
        raise LimenError(_why_not_c(bound, x))
    return plain.evaluate(bound, x, parameters, channel_dim)


def evaluate_several(call: Several) -> Tensor:
    """Run a formula of several inputs, all of one shape, type and device, with its tensors; not within a program."""
    (x, *_), bound = call.inputs, call.bound
    call = call._replace(parameters=spread(bound, call.parameters))
    chosen = choice.chosen() if choice.blocks else "auto"
    machine = _machine_for(call, chosen)
    if machine is not None:
        if torch.is_grad_enabled() and requires_grad(x, (*call.inputs, *call.parameters)):
            return several.record(machine, call)
        return several.forward(machine, call._replace(seed=new_seed(x.device) if bound.noise else None))[0]
    if any(type(given) is Remade for given in call.inputs):
        result: Tensor = through(lambda *inputs: evaluate_several(call._replace(inputs=inputs)), *call.inputs)
        return result
    if chosen in ("c", "triton") and x.numel() > 0:
        raise LimenError(_why_not_c(bound, x) if chosen == "c" else _why_not_triton(bound, x))
    return several.by_formula(call)


def _machine_for(call: Several, chosen: Backend) -> several.Machine | None:
    """Whose kernels compute a call here and now; None where the plain formula does."""
    x = call.inputs[0]
    if chosen == "plain" or x.dtype not in _COMPILED_TYPES or not all(map(is_eager, call.inputs)):
        return None
    if x.is_cpu and chosen != "triton":
        return c_run if _C.has(call.bound) and (chosen == "auto" or is_plain(x)) else None
    may = chosen != "c" and _is_for_triton(x, chosen) and all(map(is_plain, call.inputs))
    return triton_run if may and _TRITON.has(call.bound) else None


def may_compile(x: Tensor) -> bool:
    """Whether a kernel may be one step of the program that is being compiled."""
    return not torch.compiler.is_exporting() and x.dtype in _COMPILED_TYPES


def _by_sample(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """A jagged batch, each sample by itself, as a batch of one."""
    samples = [evaluate(bound, sample.unsqueeze(0), parameters, channel_dim).squeeze(0) for sample in x.unbind()]
    return rejoined(x, samples)


def shortly(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor]) -> Tensor | None:
    """What :func:`evaluate` gives for a few elements where nothing is recorded; None wherever it would go another way.

    Also None where the formula's weights are all but one for a single one of them: see AdAct.
    """
    short = bound.short_calls.get(x.dtype)
    if short is None or not x.is_cpu or (torch.is_grad_enabled() and requires_grad(x, parameters)):
        return None
    if (choice.blocks and choice.chosen() not in ("auto", "c")) or not is_eager(x):
        return None
    found: Tensor | None = short(x, parameters, None)
    return found


def _evaluate_by_triton(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, chosen: Backend
) -> Tensor:
    """By Triton's kernels if the tensor is on a GPU, or theirs to interpret; else by the plain formula."""
    may = x.dtype in _COMPILED_TYPES and chosen in ("auto", "triton") and _is_for_triton(x, chosen)
    if may and is_eager(x) and is_plain(x) and _TRITON.has(bound):
        apart = spread(bound, parameters)
        if torch.is_grad_enabled() and requires_grad(x, apart):
            return autograd.record(triton_run, bound, x, apart, channel_dim)
        seed = new_seed(x.device) if bound.noise else None
        return triton_run.forward(bound, x, apart, channel_dim, seed)[0]
    if x.is_nested and bound.contexts:
        return _by_sample(bound, x, parameters, channel_dim)
    if chosen in ("c", "triton") and x.numel() > 0:
        raise LimenError(_why_not_c(bound, x) if chosen == "c" else _why_not_triton(bound, x))
    return plain.evaluate(bound, x, parameters, channel_dim)


def _is_for_triton(x: Tensor, chosen: Backend) -> bool:
    return x.device.type in GPUS or (x.is_cpu and chosen == "triton" and triton_build.interpreted())


def _evaluate_compiling(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Inside ``torch.compile`` the kernel is one opaque operator; an exported program sees the plain formula."""
    if may_compile(x):
        key: str = kernel_key(bound, x.device.type, choice.program.name)
        if key:
            return operators.evaluate(key, x, spread(bound, parameters), channel_dim, bool(bound.noise))
    return plain.evaluate(bound, x, parameters, channel_dim)


def kernel_key(bound: BoundFormula, device: str, within: Backend | None) -> str:
    """The formula's key if its kernel may be used on such a device; asked once, when the program is compiled.

    ``within`` is what a block in the program chose.
    """
    chosen = within or choice.chosen()
    if chosen == "plain" or _functorch_stack() is not None or forward_ad._current_level >= 0:
        return ""
    key = (ALWAYS if bound.memory == "recompute" else "") + key_of(bound)
    if device == "cpu" and chosen != "triton":
        return key if _C.has(bound) else ""
    on_triton = chosen != "c" and (device in GPUS or (device == "cpu" and triton_build.interpreted()))
    if not on_triton or compiled_on_gpu == "inlined" or not _TRITON.has(bound):
        return ""
    return (INTERPRETED if device == "cpu" else "") + key


# What torch.compiler.assume_constant_result does; calling it would import torch._dynamo with every limen.
kernel_key._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_eager(x: Tensor) -> bool:
    """Whether tensors flow and are computed with at once, with nothing between us and them."""
    return (
        type(x) in ORDINARY
        and _functorch_stack() is None
        and forward_ad._current_level < 0
        and _tracing_state() is None
        and (not (_dispatch_modes() or _function_modes()) or not makes_fakes())
    )


class _Kernels:
    """The formulas found to have kernels of one kind, and those found to have none."""

    def __init__(self, no_tools: Callable[[], str]) -> None:
        self.no_tools = no_tools
        """Why no kernel of this kind can be compiled here; empty if they can."""
        self.ready: set[BoundFormula] = set()
        self.refused: dict[BoundFormula, str] = {}
        self.said = False

    def has(self, bound: BoundFormula) -> bool:
        """Whether the formula can be compiled here; says once why not."""
        if bound in self.ready:
            return True
        if bound in self.refused:
            return False
        reason = self._why_not(bound)
        if not reason:
            self.ready.add(bound)
            return True
        self.refused[bound] = reason
        return False

    def _why_not(self, bound: BoundFormula) -> str:
        if bound.plain_only:
            return bound.plain_only
        from limen.formula.symbolic import UntraceableError

        try:
            derive(bound, ())
        except UntraceableError as error:
            warnings.warn(f"{bound.name} runs on torch's operators, without a kernel: {error}.", stacklevel=6)
            return str(error)
        reason = self.no_tools()
        if reason and not self.said:
            self.said = True
            warnings.warn(f"limen runs on torch's operators, without kernels: {reason}", stacklevel=6)
        return reason


def _no_compiler() -> str:
    if shipped.library() is not None:
        return ""  # what did not come with the package says so where it is called
    try:
        c_build.find_compiler()
    except c_build.NoCompilerError as error:
        return str(error)
    return ""


def why_no_triton() -> str:
    """Why no Triton kernel can run in this process; empty if it can, on a GPU or in Triton's interpreter."""
    if not triton_build.installed():
        return "Triton is not installed (pip install 'limen[triton]')"
    if triton_build.interpreted() or triton_build.has_device():
        return ""
    return "Triton finds no GPU here, and TRITON_INTERPRET=1 was not set when it was imported"


_C = _Kernels(_no_compiler)
_TRITON = _Kernels(why_no_triton)


def _why_not_c(bound: BoundFormula, x: Tensor) -> str:
    if bound in _C.refused:
        return f"{bound.name} has no compiled kernel: {_C.refused[bound]}; use the backend 'auto' or 'plain'."
    return (
        f"the compiled kernels take CPU tensors of float32, bfloat16 or float16 in eager mode, and the input is "
        f"{x.dtype} on {x.device} with {x.numel()} elements; use the backend 'auto' or 'plain'."
    )


def _why_not_triton(bound: BoundFormula, x: Tensor) -> str:
    if bound in _TRITON.refused:
        return f"{bound.name} has no Triton kernel: {_TRITON.refused[bound]}; use the backend 'auto' or 'plain'."
    where = "GPU tensors (and with TRITON_INTERPRET=1 CPU tensors)"
    return (
        f"the Triton kernels take {where} of float32, bfloat16 or float16 in eager mode, and the input is "
        f"{x.dtype} on {x.device} with {x.numel()} elements; use the backend 'auto' or 'plain'."
    )


@functools.lru_cache(maxsize=4096)
def is_derived(bound: BoundFormula) -> bool:
    """Whether the formula becomes an expression over its input, its parameters, and statistics of its context."""
    from limen.formula.symbolic import StatisticError, UntraceableError

    try:
        derive(bound, ())
    except StatisticError:
        return True
    except UntraceableError:
        return False
    return True


def why_no_kernel(bound: BoundFormula, device: str = "cpu") -> str:
    """Why a formula has no kernel on a device; empty if it has one."""
    kernels = _C if device == "cpu" else _TRITON
    return "" if kernels.has(bound) else kernels.refused[bound]
