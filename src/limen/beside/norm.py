"""A norm and the activation that follows it, in one pass for the statistics and one for the result."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.fx import Proxy
from torch.nn import functional as F

from limen.beside.making import Called, made, one_pass_of
from limen.errors import SpecError
from limen.formula import Context, mean, sqrt, std
from limen.formula.composed import ComposedFormula
from limen.kernels import choice, dispatch, normed, plain
from limen.kernels.bound import BoundFormula, keeping, shared
from limen.kernels.c import normed as c_normed
from limen.kernels.c.calls import DTYPES
from limen.kernels.errors import NoKernelError
from limen.kernels.layout import Plan, is_plain
from limen.kernels.normed import MEAN, SCALE, SHIFT, Norm, Sampled
from limen.kernels.precision import at_least_float32
from limen.kernels.weights import spread

BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""The norms whose statistics are of the channels of a batch."""
CONTEXT, EPS = "context of norm", "eps of norm"
"""What the constants of a norm's part of a formula are called."""
CACHED = 2**17
"""Elements of a channel that stay in the second cache between the passes over it."""
ROWS = (nn.LayerNorm, nn.RMSNorm)
"""The norms of the last axes."""
LEAST_ROW = 16
"""Neighbouring elements of one channel from which a norm of groups is walked at once; and of a row, one of rows."""
NORMS = (*BATCH, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.SyncBatchNorm)


class NormedFormula(ComposedFormula):
    """f((x − μ)·s + b) for a formula f, as one formula with three more parameters."""

    given: ClassVar[tuple[str, ...]] = (MEAN, SCALE, SHIFT)

    def inner(self, x: Any, **given: Any) -> Any:
        """What is normalised by numbers that are given."""
        return (x - given[MEAN]) * given[SCALE] + given[SHIFT]


class SampledFormula(NormedFormula):
    """f((x − mean)/√(deviation² + ε)·s + b), whose statistics are taken of the input."""

    given: ClassVar[tuple[str, ...]] = (SCALE, SHIFT, CONTEXT, EPS)

    def inner(self, x: Any, **given: Any) -> Any:
        """What is normalised by its own statistics."""
        context = given[CONTEXT]
        return (x - mean(x, context)) / sqrt(std(x, context) ** 2 + given[EPS]) * given[SCALE] + given[SHIFT]


class RootFormula(NormedFormula):
    """f(x/√(mean square + ε)·s), whose mean square is that of the input's mean and deviation."""

    given: ClassVar[tuple[str, ...]] = (SCALE, CONTEXT, EPS)

    def inner(self, x: Any, **given: Any) -> Any:
        """What is divided by its root mean square."""
        square = mean(x, given[CONTEXT]) ** 2 + std(x, given[CONTEXT]) ** 2
        return x / sqrt(square + given[EPS]) * given[SCALE]


@functools.lru_cache(maxsize=4096)
def with_rows(bound: BoundFormula, eps: float, *, root: bool) -> BoundFormula:
    """The bound formula of an activation of shared parameters after a norm of rows, with weights by place."""
    constants = (*bound.constants, (CONTEXT, Context("token")), (EPS, eps))
    kind, names = (RootFormula, (SCALE,)) if root else (SampledFormula, (SCALE, SHIFT))
    given = kind(bound.function), (*names, *bound.parameters), constants
    return shared(BoundFormula(*given, plain_only=bound.plain_only, single=bound.parameters))


@functools.lru_cache(maxsize=4096)
def with_statistics(bound: BoundFormula, eps: float) -> BoundFormula:
    """The bound formula of an activation after a norm that takes its statistics at once."""
    constants = (*bound.constants, (CONTEXT, Context("sample")), (EPS, eps))
    names = (SCALE, SHIFT, *bound.parameters)
    return shared(BoundFormula(SampledFormula(bound.function), names, constants, plain_only=bound.plain_only))


@functools.lru_cache(maxsize=4096)
def with_norm(bound: BoundFormula) -> BoundFormula:
    """The bound formula of a norm and an activation."""
    parameters = (MEAN, SCALE, SHIFT, *bound.parameters)
    return shared(BoundFormula(NormedFormula(bound.function), parameters, bound.constants, plain_only=bound.plain_only))


class NormAct(nn.Module):
    """A norm followed by an activation, activation(norm(x)), with fewer passes over memory.

    A batch norm takes one pass for its statistics and one for the result, and two backward; channels that stay in the
    cache, groups, and the rows of a LayerNorm or RMSNorm are visited once. Kept for the backward pass: the
    norm's input, its mean and deviation, the parameters, and nothing else. SyncBatchNorm, other machines than the CPU,
    compiled programs, activations with statistics or noise, and float64 run norm and activation one after the other.

    Args:
        norm: a BatchNorm1d, 2d or 3d, GroupNorm, LayerNorm, RMSNorm or SyncBatchNorm of torch, which is taken over: its
            parameters and buffers are used and trained.
        activation: a spec, a class or a module, as :class:`limen.GLU` takes it.
        **named: further arguments of the activation where a spec or a class is given.

    Shape: as the norm; the output has the input's shape and type. Parameters keep their names below ``norm`` and
    ``activation``.

    Raises:
        SpecError: when made, for another norm, or an activation that does not exist or changes its input's shape.

    >>> import torch, limen
    >>> block = limen.NormAct(torch.nn.BatchNorm2d(8), "asau")
    >>> block(torch.randn(4, 8, 5, 5)).shape
    torch.Size([4, 8, 5, 5])
    >>> sorted(name for name, _ in block.named_parameters())
    ['activation.alpha', 'activation.beta', 'norm.bias', 'norm.weight']
    """

    def __init__(self, norm: nn.Module, activation: str | type[nn.Module] | nn.Module, **named: Any) -> None:
        super().__init__()
        if not isinstance(norm, NORMS):
            known = ", ".join(kind.__name__ for kind in NORMS)
            raise SpecError(f"NormAct takes one of {known}, and {type(norm).__name__} was given.")
        self.norm = norm
        self.activation = made(activation, "NormAct", named)

    def forward(self, x: Tensor) -> Tensor:
        """The activation of the norm of an input, whose shape and type it has.

        Args:
            x: of a shape that the norm takes.

        >>> import torch, limen
        >>> limen.NormAct(torch.nn.LayerNorm(3), "relu").forward(torch.tensor([[1.0, 2.0, 3.0]])).shape
        torch.Size([1, 3])
        """
        given: Any = x
        if type(given) is Proxy:
            return self._as_one_step(given)
        called = self._in_one(x)
        if called is not None:
            try:
                return _WAYS.get(type(self.norm), NormAct._batch)(self, x, called)
            except NoKernelError:
                pass
        result: Tensor = self.activation(self.norm(x))
        return result

    def _as_one_step(self, x: Any) -> Tensor:
        """What torch.fx sees of it: one step, as of an activation."""
        step: Tensor = x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})
        return step

    def _in_one(self, x: Tensor) -> Called | None:
        """How the activation is called where both are one step; None where they are two."""
        norm: Any = self.norm
        if is_compiling() or not _unwatched(norm) or not _walks(norm, x):
            return None
        called = one_pass_of(self.activation)
        if called is None:
            return None
        bound, tensors, channel_dim = called
        tensors = tuple(spread(bound, tensors))
        by_channel = any(tensor.numel() > 1 for tensor in tensors)
        if bound.contexts or bound.noise or (by_channel and (type(norm) in ROWS or channel_dim % x.ndim != 1)):
            return None
        if not all(map(is_ready, (*tensors, *norm.parameters(), *norm.buffers()))):
            return None
        return (bound, tensors, 1) if not dispatch.why_no_kernel(with_norm(bound)) else None

    def _batch(self, x: Tensor, called: Called) -> Tensor:
        """A batch norm and the activation, by kernels."""
        norm: Any = self.norm
        norm._check_input_dim(x)
        alone, own, _ = called
        learning = norm.training or norm.running_mean is None
        count = x.numel() // x.shape[1]
        if learning and x.is_contiguous() and count <= CACHED and count >= LEAST_ROW * len(x):
            return self._channels(x, called)
        bound = keeping(with_norm(alone), alone.memory)
        if learning:
            centre, variance = c_normed.moments_of_channels(*normed.plan_channels(x.detach()))
        else:
            centre, variance = norm.running_mean.to(torch.float32, copy=True), norm.running_var.float()
        inverse = (variance + norm.eps).rsqrt()
        affine = affine_of(norm)
        settled = Norm(bound, learning, _plainly(bound, learning, norm.eps, len(affine)))
        result: Tensor = normed.record(settled, x, centre, inverse, affine, own)
        if learning:
            track(norm, centre, variance, count)
        return result

    def _channels(self, x: Tensor, called: Called) -> Tensor:
        """A batch norm of channels that stay in the cache, and the activation: one visit to each."""
        norm: Any = self.norm
        bound, own, _ = called
        samples, channels = x.shape[:2]
        plan = Plan("channel", channels, channels, x.numel() // (samples * channels), samples, 1)

        def plainly(x: Tensor, *tensors: Tensor) -> Tensor:
            weight, bias = tensors[:2] if norm.affine else (None, None)
            z = F.batch_norm(at_least_float32(x), None, None, weight, bias, True, 0.0, norm.eps)
            return plain.evaluate(bound, z, tensors[2 if norm.affine else 0 :], 1).to(x.dtype)

        fused = keeping(with_statistics(bound, norm.eps), bound.memory)
        settled = Sampled(fused, plan, plainly, _names(norm))
        y, statistics = normed.record_sampled(settled, x, affine_of(norm), own)
        track(norm, statistics[:, 0], statistics[:, 1].square(), len(x) * plan.inner)
        return y

    def _groups(self, x: Tensor, called: Called) -> Tensor:
        """A norm of groups of channels and the activation: one visit to each group of each sample."""
        norm: Any = self.norm
        bound, own, _ = called
        samples, channels = x.shape[:2]
        inner, groups = x.numel() // (samples * channels), norm.num_groups
        plan = Plan("sample", samples * groups, channels, inner, channels // groups, 1)

        def plainly(x: Tensor, *tensors: Tensor) -> Tensor:
            weight, bias = tensors[:2] if norm.affine else (None, None)
            z = F.group_norm(at_least_float32(x), groups, weight, bias, norm.eps)
            return plain.evaluate(bound, z, tensors[2 if norm.affine else 0 :], 1).to(x.dtype)

        fused = keeping(with_statistics(bound, norm.eps), bound.memory)
        settled = Sampled(fused, plan, plainly, _names(norm))
        return normed.record_sampled(settled, x, affine_of(norm), own)[0]

    def _rows(self, x: Tensor, called: Called) -> Tensor:
        """A norm of the last axes and the activation: one visit to each row."""
        norm: Any = self.norm
        bound, own, _ = called
        shape, root = tuple(norm.normalized_shape), type(norm) is nn.RMSNorm
        eps = torch.finfo(torch.float32).eps if norm.eps is None else norm.eps
        affine = {SCALE: norm.weight, SHIFT: getattr(norm, "bias", None)}
        affine = {name: value for name, value in affine.items() if value is not None}

        def plainly(x: Tensor, *tensors: Tensor) -> Tensor:
            given = dict(zip(affine, tensors, strict=False))
            work, weight, bias = at_least_float32(x), given.get(SCALE), given.get(SHIFT)
            z = F.rms_norm(work, shape, weight, eps) if root else F.layer_norm(work, shape, weight, bias, eps)
            return plain.evaluate(bound, z, tensors[len(affine) :], 1).to(x.dtype)

        places = math.prod(shape)
        plan = Plan("place", x.numel() // places, places)
        fused = keeping(with_rows(bound, eps, root=root), bound.memory)
        settled = Sampled(fused, plan, plainly, tuple(affine))
        return normed.record_sampled(settled, x, tuple(affine.values()), own)[0]

    def extra_repr(self) -> str:
        """Nothing beside norm and activation.

        >>> import torch, limen
        >>> limen.NormAct(torch.nn.LayerNorm(3), "relu").extra_repr()
        ''
        """
        return ""


_WAYS = {nn.GroupNorm: NormAct._groups, nn.LayerNorm: NormAct._rows, nn.RMSNorm: NormAct._rows}
"""How norms other than those of batches are computed with what follows them."""


def _unwatched(module: nn.Module) -> bool:
    """Whether no hook wants to see what the module gives."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return not any(hooks)


def affine_of(norm: Any) -> tuple[Tensor, ...]:
    """Weight and bias, or nothing."""
    return () if norm.weight is None else (norm.weight, norm.bias)


def _names(norm: Any) -> tuple[str, ...]:
    """What they are called in a formula."""
    return () if norm.weight is None else (SCALE, SHIFT)


def _walks(norm: Any, x: Tensor) -> bool:
    """Whether norm and activation are one step for such an input."""
    if type(norm) in ROWS:
        shape = tuple(norm.normalized_shape)
        return x.shape[-len(shape) :] == shape and math.prod(shape) >= LEAST_ROW and x.is_cpu and _is_walked(x)
    if type(norm) not in (*BATCH, nn.GroupNorm) or (norm.weight is None) != (norm.bias is None):
        return False
    if type(norm) is nn.GroupNorm:
        return x.is_contiguous() and suits(x, norm.num_channels) and x[0, 0].numel() >= LEAST_ROW
    return suits(x, norm.num_features)


def suits(x: Tensor, channels: int) -> bool:
    """Whether kernels take the input, of which each channel has several values."""
    return x.is_cpu and x.ndim >= 2 and x.shape[1] == channels and _is_walked(x) and x.numel() > channels


def _is_walked(x: Tensor) -> bool:
    """Whether kernels take a tensor of a CPU."""
    chosen = choice.chosen() if choice.blocks else "auto"
    return chosen in ("auto", "c") and x.dtype in DTYPES and dispatch.is_eager(x) and is_plain(x)


def is_ready(tensor: Tensor) -> bool:
    """Whether a parameter is one that kernels read."""
    return tensor.is_cpu and dispatch.is_eager(tensor) and is_plain(tensor)


def track(norm: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics as torch does."""
    if norm.running_mean is None or not norm.training:
        return
    factor = 0.0 if norm.momentum is None else norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            factor = 1.0 / float(norm.num_batches_tracked)
    with torch.no_grad():
        for running, new in ((norm.running_mean, mean), (norm.running_var, variance * (count / (count - 1)))):
            running.copy_(running * (1 - factor) + new * factor)


def _plainly(bound: BoundFormula, learning: bool, eps: float, affine: int) -> Callable[..., Tensor]:
    """Norm and activation on torch's operators, from what is recorded."""

    def run(mean: Tensor, inverse: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
        weight, bias = tensors[:affine] or (None, None)
        work = x.float() if x.dtype in DTYPES else x
        if learning:
            z = F.batch_norm(work, None, None, weight, bias, True, 0.0, eps)
        else:
            axes = [1, -1, *[1] * (x.ndim - 2)]
            z = (work - mean.reshape(axes)) * inverse.reshape(axes)
            z = z if weight is None or bias is None else z * weight.reshape(axes) + bias.reshape(axes)
        ones, zeros = torch.ones_like(mean), torch.zeros_like(mean)
        y = plain.evaluate(bound, z, (zeros, ones, zeros, *tensors[affine:]), 1)
        return y.to(x.dtype)

    return run
