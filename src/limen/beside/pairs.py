"""What stands side by side in a model and is computed at once, each part a module of the model's own.

Fused models call these. Every call asks anew whether both may be one step, and else calls one after the other: so a
hook that comes later sees what it would have seen, and programs and traces have plain operators.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional as F
from torch.nn.modules import module as torchs

from limen.activations.base import Activation
from limen.beside.glu import evaluate
from limen.beside.making import Called, one_pass_of
from limen.beside.norm import (
    BATCH,
    CACHED,
    CONTEXT,
    EPS,
    ROWS,
    NormAct,
    SampledFormula,
    affine_of,
    is_ready,
    suits,
    track,
)
from limen.formula import Context
from limen.kernels import dispatch, plain, summed
from limen.kernels.bound import BoundFormula, keeping, shared
from limen.kernels.errors import NoKernelError
from limen.kernels.layout import Plan
from limen.kernels.normed import SCALE, SHIFT
from limen.kernels.precision import at_least_float32
from limen.kernels.several import APART
from limen.kernels.summed import OTHER, Summed
from limen.kernels.weights import spread

FUNCTIONS: dict[Any, nn.Module] = {
    F.relu: nn.ReLU(),
    torch.relu: nn.ReLU(),
    F.silu: nn.SiLU(),
    F.gelu: nn.GELU(),
    F.mish: nn.Mish(),
}
"""Functions of torch's that our activations compute, as modules."""
TRANSFORMERS: dict[str, nn.Module] = {
    "SiLUActivation": nn.SiLU(),
    "GELUActivation": nn.GELU(),
    "GELUTanh": nn.GELU("tanh"),
    "NewGELUActivation": nn.GELU("tanh"),
    "MishActivation": nn.Mish(),
}
"""Classes of Transformers that our activations compute, by name, as modules of torch's."""


LEAST_MAP = 128
"""Neighbouring values of a channel from which a norm and its activation are one while training: with relu, swish and
asau they take 0.59, 0.56 and 0.96 of the time with maps of 32x32, 0.57, 0.95 and 1.06 with 16x16, 0.88, 1.36 and 1.40
with 8x8 (64 images, two threads of an idle machine)."""
LEAST_SUMMED = 512
"""The same with a sum between them: 0.82 to 0.95 with 32x32, 1.05 to 1.07 with 16x16, 1.3 to 2.2 with 8x8 (64 images,
one thread of a busy machine)."""
LEAST_PLACES: dict[type[nn.Module], int] = {nn.LayerNorm: 64, nn.RMSNorm: 16}
"""Values of a row from which its norm and an activation are one. With relu, silu, asau LayerNorm takes 0.72, 0.63, 0.88
of the time with rows of 1024, 0.82, 0.84, 0.99 with 64 and 1.07, 1.29, 1.64 with 16; RMSNorm 0.22, 0.23, 0.34, then
0.32, 0.36, 0.48, then 0.51, 0.61, 0.91 (forward and backward, 1 to 4 million values, two threads)."""
_FUSED_NORMS = (*BATCH, nn.GroupNorm, *ROWS)


OVERWRITES = "limen_overwrites"
"""Marks the class of an activation that surgery made to overwrite its input."""


def computing(activation: Any, fresh: bool = False) -> nn.Module | None:
    """The module whose formula a call of a module or function computes, if it is one that kernels may take over.

    Where its input is ``fresh``, and held by nothing else, it does not matter whether it is overwritten.
    """
    if not isinstance(activation, nn.Module):
        return FUNCTIONS.get(activation) if callable(activation) else None
    if not _unwatched(activation):
        return None
    if type(activation).__module__ == "transformers.activations":
        return TRANSFORMERS.get(type(activation).__name__)
    kind: Any = type(activation)
    if fresh and getattr(kind, OVERWRITES, False):
        inner: nn.Module = object.__new__(kind.limen_base)
        vars(inner).update(vars(activation))
        return inner
    return activation


def called(activation: Any, fresh: bool = False) -> Called | None:
    """What a call of a module or function computes now, for a kernel that does more at once; None where it must run."""
    module = computing(activation, fresh)
    return None if module is None else one_pass_of(module)


def _unwatched(module: nn.Module) -> bool:
    """Whether no one put a hook or a ``forward`` of his own on the object."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return not hooks and "forward" not in vars(module)


def _may_join(x: Any) -> bool:
    """Whether modules may be one step here: not where a program is made, nor where anyone watches all modules."""
    return isinstance(x, Tensor) and not is_compiling() and not torchs._has_any_global_hook()  # type: ignore[no-untyped-call]


def _passes(module: Any) -> bool:
    """Whether a module, if there is one, hands on what it is given."""
    return module is None or (type(module) is nn.Identity and _unwatched(module))


def is_plain_norm(norm: Any) -> bool:
    """Whether torch's own class computes it, and tracks what it is told to."""
    if type(norm) not in _FUSED_NORMS or not _unwatched(norm):
        return False
    return type(norm) not in BATCH or norm.track_running_stats or norm.running_mean is None


class _Together(NormAct):
    """A norm and an activation for one call, of which this is no owner."""

    def __init__(self, norm: Any, activation: Any) -> None:
        vars(self).update(norm=norm, activation=activation)


def norm_act(norm: Any, activation: Any, x: Any, *between: Any) -> Any:
    """activation(norm(x)), in fewer passes where both may be one step.

    Args:
        norm: a norm of any kind.
        activation: a module or a function.
        x: the norm's input.
        *between: what stands between them, if anything; they are one step only where that hands its input on.
    """
    y = _norm_and_act(norm, activation, x) if _may_join(x) and all(map(_passes, between)) else None
    return activation(_through(norm(x), between)) if y is None else y


def _norm_and_act(norm: Any, activation: Any, x: Tensor) -> Any:
    """Both in fewer passes; None where the norm or the activation must be called."""
    module = computing(activation, fresh=True) if is_plain_norm(norm) else None
    found = None if module is None else one_pass_of(module)
    if found is None or found[0].noise or _is_small(norm, x):
        return None
    return _Together(norm, module).forward(x)


def _is_small(norm: Any, x: Tensor) -> bool:
    """Whether maps or rows are too short to gain anything."""
    if type(norm) in ROWS:
        places: int = math.prod(norm.normalized_shape)
        return places < LEAST_PLACES[type(norm)]
    return _learns(norm) and x.ndim > 2 and x.is_contiguous() and _row(x) < LEAST_MAP


def batch_norm_act(module: Any, x: Any) -> Any:
    """What timm's BatchNormAct2d computes, which is a norm and holds its activation."""
    if _may_join(x) and _passes(module.drop):
        norm = object.__new__(nn.BatchNorm2d)
        vars(norm).update(vars(module))
        y = _norm_and_act(norm, module.act, x)
        if y is not None:
            return y
    return type(module).limen_base.forward(module, x)


def run_in_sequence(sequence: Any, input: Any) -> Any:
    """What ``nn.Sequential`` computes, a norm and the activation behind it in fewer passes."""
    modules = list(sequence)
    place = 0
    while place < len(modules):
        module = modules[place]
        behind = place + 1
        while type(module) in _FUSED_NORMS and behind < len(modules) and type(modules[behind]) is nn.Identity:
            behind += 1
        if type(module) in _FUSED_NORMS and behind < len(modules):
            input = norm_act(module, modules[behind], input, *modules[place + 1 : behind])
            place = behind + 1
        else:
            input = module(input)
            place += 1
    return input


def norm_add_act(norm: Any, activation: Any, x: Any, other: Any, in_place: bool, *between: Any) -> Any:
    """activation(norm(x) + other), in fewer passes where all three may be one step.

    Args:
        norm: a norm of any kind.
        activation: a module or a function.
        x: the norm's input.
        other: what is added.
        in_place: whether the sum is written into what the norm gave, and has its type.
        *between: what stands between norm and sum, as in :func:`norm_act`.
    """
    if _may_join(x) and is_plain_norm(norm) and all(map(_passes, between)):
        found = called(activation, fresh=True)
        y = None if found is None else _summed(norm, found, x, other)
        if y is not None:
            return y
    z = _through(norm(x), between)
    if in_place:
        z += other
        return activation(z)
    return activation(z + other)


def other_norm_add_act(norm: Any, activation: Any, other: Any, x: Any, in_place: bool, *between: Any) -> Any:
    """:func:`norm_add_act`, where what is added comes first."""
    return norm_add_act(norm, activation, x, other, in_place, *between)


def gate(activation: Any, x: Any, up: Any) -> Any:
    """activation(x)·up, in one pass where both have one shape and type."""
    if isinstance(up, Tensor) and isinstance(x, Tensor) and x.shape == up.shape and x.dtype is up.dtype:
        watched = torchs._has_any_global_hook()  # type: ignore[no-untyped-call]
        found = (
            None
            if watched or x.device != up.device or x.is_nested or _left_to_inductor(activation)
            else called(activation)
        )
        if found is not None:
            return evaluate(found, (x, up), APART)
    return activation(x) * up


def up_gate(activation: Any, up: Any, x: Any) -> Any:
    """:func:`gate`, where the gate comes second."""
    return gate(activation, x, up)


def _left_to_inductor(activation: Any) -> bool:
    """Torch's own functions are not opaque to it: it computes them with all that stands around them."""
    return is_compiling() and not isinstance(activation, Activation)


def _through(y: Any, between: tuple[Any, ...]) -> Any:
    for module in between:
        y = y if module is None else module(y)
    return y


class SummedFormula(SampledFormula):
    """f((x − mean)/√(deviation² + ε)·s + b + u)."""

    given: ClassVar[tuple[str, ...]] = (*SampledFormula.given, OTHER)

    def inner(self, x: Any, **given: Any) -> Any:
        """What is normalised, and added to."""
        return super().inner(x, **given) + given[OTHER]


@functools.lru_cache(maxsize=4096)
def _with_sum(bound: BoundFormula, eps: float) -> BoundFormula:
    """The bound formula of an activation after a norm that takes its statistics at once, and a sum."""
    constants = (*bound.constants, (CONTEXT, Context("sample")), (EPS, eps))
    formula, names = SummedFormula(bound.function), (SCALE, SHIFT, *bound.parameters)
    return shared(BoundFormula(formula, names, constants, plain_only=bound.plain_only, beside=(OTHER,)))


def _summed(norm: Any, found: Called, x: Tensor, other: Any) -> Tensor | None:
    """A batch norm, a sum and the activation, one visit to each channel; None where they are several steps."""
    bound, tensors, dim = found
    own = spread(bound, tensors)
    if bound.noise or bound.contexts or not _visits_channels(norm, x) or not _fits(x, other):
        return None
    if any(tensor.numel() > 1 for tensor in own) and dim % x.ndim != 1:
        return None
    whole = keeping(_with_sum(bound, norm.eps), bound.memory)
    if not all(map(is_ready, (*own, *norm.parameters(), *norm.buffers()))) or dispatch.why_no_kernel(whole):
        return None
    norm._check_input_dim(x)
    samples, channels = x.shape[:2]
    plan = Plan("channel", channels, channels, x.numel() // (samples * channels), samples, 1)
    affine = affine_of(norm)

    def plainly(x: Tensor, other: Tensor, *tensors: Tensor) -> Tensor:
        weight, bias = tensors[:2] if affine else (None, None)
        z = F.batch_norm(at_least_float32(x), None, None, weight, bias, True, 0.0, norm.eps)
        return plain.evaluate(bound, z + other, tensors[len(affine) :], 1).to(x.dtype)

    try:
        y, statistics = summed.record(Summed(whole, plan, plainly, len(affine)), (x, other), affine, own)
    except NoKernelError:
        return None
    track(norm, statistics[:, 0], statistics[:, 1].square(), samples * plan.inner)
    result: Tensor = y
    return result


def _visits_channels(norm: Any, x: Tensor) -> bool:
    """Whether a batch norm takes statistics of channels that stay in the cache."""
    if type(norm) not in BATCH or (norm.weight is None) != (norm.bias is None) or not suits(x, norm.num_features):
        return False
    count = x.numel() // x.shape[1]
    return _learns(norm) and x.is_contiguous() and LEAST_SUMMED * len(x) <= count <= CACHED


def _learns(norm: Any) -> bool:
    """Whether the statistics are the batch's own."""
    return type(norm) in BATCH and (norm.training or norm.running_mean is None)


def _row(x: Tensor) -> int:
    """Neighbouring values of one channel."""
    return x.numel() // (x.shape[0] * x.shape[1]) if x.numel() else 0


def _fits(x: Tensor, other: Any) -> bool:
    """Whether what is added is read as the input is."""
    alike = isinstance(other, Tensor) and other.shape == x.shape and other.dtype is x.dtype and other.is_contiguous()
    return alike and is_ready(other)
