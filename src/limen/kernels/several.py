"""Formulas of several inputs: x and tensors of its shape beside it, recorded by autograd, whichever machine runs them.

Two inputs may be the halves of one tensor's last dimension, as a fused projection gives them. They are read where they
lie, and their gradient is written into one tensor. Saved for the backward pass: the inputs, the parameters, two numbers
a sample for formulas with statistics, and the seed of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from limen.kernels import plain
from limen.kernels.autograd import by_autograd, is_ordinary, say_once, shaped_sums
from limen.kernels.bound import BoundFormula
from limen.kernels.call import Prepared
from limen.kernels.errors import NoKernelError
from limen.kernels.layout import (
    are_alike,
    counted_as,
    has_memory,
    is_dense,
    is_plain,
    pitch_of,
    plan_rows,
    planned,
    values_of,
)
from limen.kernels.noise import new_seed
from limen.kernels.remade import remade

APART, FIRST, SECOND = 0, 1, 2
"""How inputs are given: each by itself; as two halves of one tensor of which x is the first, or the second."""


class Machine(Protocol):
    """What runs kernels of several inputs: the modules ``c.run`` and ``triton.run``."""

    def run_forward_several(self, given: Prepared, /) -> tuple[Tensor, Tensor | None]:
        """The result, dense, and the statistics of each sample if the formula takes any."""

    def run_backward_several(
        self,
        given: Prepared,
        g: Tensor,
        statistics: Tensor | None,
        wanted: tuple[str, ...],
        into: Sequence[Tensor],
        pitch: int,
        /,
    ) -> Tensor:
        """The gradients of the wanted parameters; those of the inputs go ``into`` tensors."""


class Several(NamedTuple):
    """A call of a formula of several inputs, as it comes."""

    bound: BoundFormula
    inputs: Sequence[Tensor]
    """x and those beside it; or one tensor of two halves."""
    packed: int
    """``APART``, ``FIRST`` or ``SECOND``."""
    parameters: Sequence[Tensor]
    channel_dim: int
    seed: Tensor | None = None


def apart(inputs: Sequence[Tensor], packed: int) -> Sequence[Tensor]:
    """x and those beside it, from tensors that may hold both."""
    if packed == APART:
        return inputs
    (both,) = inputs
    half = both.shape[-1] // 2
    first, second = both.narrow(-1, 0, half), both.narrow(-1, half, half)
    return (first, second) if packed == FIRST else (second, first)


def by_formula(call: Several) -> Tensor:
    """The plain formula, with the noise that the kernels give each element."""
    x, *beside = apart(call.inputs, call.packed)
    walked = torch.empty_like(x) if call.bound.noise and call.seed is not None else None
    if walked is not None and call.bound.contexts:
        walked = planned(call.bound, walked, call.parameters, call.channel_dim)[0]
    return plain.evaluate(call.bound, x, call.parameters, call.channel_dim, call.seed, beside, walked)


def prepare(call: Several) -> Prepared | None:
    """The call as kernels take it; None where only the plain path can."""
    x, *beside = apart(call.inputs, call.packed)
    if not all(map(is_plain, (x, *beside))):
        return None
    found = _rows_apart(call, x, beside) or _densely(call, x, beside)
    if found is None:
        return None
    walked, plan, pitch = found
    values = values_of(x, call.parameters, plan.channels)
    return None if values is None else Prepared(call.bound, walked[0], values, plan, call.seed, walked[1:], pitch)


def _rows_apart(call: Several, x: Tensor, beside: Sequence[Tensor]) -> tuple[Sequence[Tensor], Any, int] | None:
    """Inputs whose rows all begin as far apart, as they are, and how to walk them; None for others."""
    if is_dense(x) or not (pitch := pitch_of(x)) or not all(are_alike(x, other) for other in beside):
        return None
    stand_in = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    dense = planned(call.bound, stand_in, call.parameters, call.channel_dim)[1]
    plan = None if dense is None else plan_rows(dense, x.shape[-1])
    return None if plan is None else ((x, *beside), plan, pitch)


def _densely(call: Several, x: Tensor, beside: Sequence[Tensor]) -> tuple[Sequence[Tensor], Any, int] | None:
    """Inputs laid out as x, without gaps, and how to walk them; None where only the plain path can."""
    walked, plan = planned(call.bound, x, call.parameters, call.channel_dim)
    if plan is None:
        return None
    others = [o if are_alike(walked, o) else torch.empty_like(walked).copy_(o) for o in beside]
    return (walked, *others), plan, plan.channels if plan.layout == "lane" else plan.inner


def forward(machine: Machine, call: Several) -> tuple[Tensor, Tensor | None]:
    """The result as torch's operators would lay it out, and the statistics; by the plain path without a kernel."""
    try:
        given = prepare(call)
        if given is not None:
            y, statistics = machine.run_forward_several(given)
            return _like(apart(call.inputs, call.packed)[0], y), statistics
    except NoKernelError as error:
        say_once(call.bound, error)
    return _laid_out(call, by_formula(call)), None


def _laid_out(call: Several, result: Tensor) -> Tensor:
    return _like(apart(call.inputs, call.packed)[0], result) if has_memory(result) else result


def _like(x: Tensor, result: Tensor) -> Tensor:
    """The result in the layout of a new tensor like x."""
    if are_alike(x, result):
        return result
    target = torch.empty_like(x)
    return result if are_alike(result, target) else target.copy_(result)


def backward(
    machine: Machine, call: Several, g: Tensor, statistics: Tensor | None, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of all inputs as they were given, and of each wanted parameter."""
    try:
        found = _by_kernel(machine, call, g, statistics, wanted)
    except NoKernelError as error:
        say_once(call.bound, error)
        found = None
    return found or by_plain(call, g, [*[True] * len(call.inputs), *wanted])


def _by_kernel(
    machine: Machine, call: Several, g: Tensor, statistics: Tensor | None, wanted: Sequence[bool]
) -> list[Tensor | None] | None:
    given = prepare(call)
    if given is None or (statistics is None) == (given.plan.layout == "sample"):
        return None
    like = torch.empty_like(given.x)
    if not are_alike(g, like) or g.is_neg():
        g = like.copy_(g)
    names = tuple(name for name, want in zip(call.bound.parameters, wanted, strict=True) if want)
    results = [torch.empty_like(tensor) for tensor in call.inputs]
    places = apart(results, call.packed)
    pitch = _pitch_into(given, places)
    into = places if pitch else [torch.empty_like(given.x) for _ in places]
    sums = machine.run_backward_several(given, g, statistics, names, into, pitch or _dense_pitch(given))
    if not pitch:
        for place, gradient in zip(places, into, strict=True):
            place.copy_(gradient)
    return [*results, *shaped_sums(sums, call.parameters, wanted)]


def _dense_pitch(given: Prepared) -> int:
    return given.plan.channels if given.plan.layout == "lane" else given.plan.inner


def _pitch_into(given: Prepared, places: Sequence[Tensor]) -> int:
    """How far apart the rows begin in what the gradients are written into; 0 where the kernel does not walk it."""
    like = torch.empty_like(given.x)
    if all(are_alike(like, place) for place in places):
        return _dense_pitch(given)
    rows = _dense_pitch(given) == places[0].shape[-1]
    return pitch_of(places[0]) if rows and all(are_alike(places[0], place) for place in places) else 0


def by_plain(call: Several, g: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
    """The gradients of inputs and parameters by autograd on the plain formula, themselves differentiable."""
    count = len(call.inputs)

    def plainly(*tensors: Tensor) -> Tensor:
        return by_formula(call._replace(inputs=tensors[:count], parameters=tensors[count:]))

    return by_autograd(plainly, (*call.inputs, *call.parameters), g, wanted)


def record(machine: Machine, call: Several) -> Tensor:
    """Run the kernels, recorded by autograd."""
    seed = new_seed(call.inputs[0].device) if call.bound.noise else None
    settled = machine, call.bound, call.packed, call.channel_dim, len(call.inputs), seed
    result: Tensor = _apply(settled, *call.inputs, *call.parameters)
    if call.bound.memory == "exact":
        return result
    count, strides = len(call.inputs), [tensor.stride() for tensor in call.inputs]

    def make(*tensors: Tensor) -> Tensor:
        inputs: Sequence[Tensor] = tensors[:count]
        if call.bound.noise:
            inputs = [counted_as(tensor, stride) for tensor, stride in zip(inputs, strides, strict=True)]
        return forward(machine, fixed._replace(inputs=inputs, parameters=tensors[count:]))[0]

    fixed = call._replace(inputs=(), parameters=(), seed=seed)
    return remade(result, make, (*call.inputs, *call.parameters))


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, settled: tuple[Any, ...], *tensors: Tensor) -> Tensor:
        machine, bound, packed, channel_dim, count, seed = settled
        call = Several(bound, tensors[:count], packed, tensors[count:], channel_dim, seed)
        y, statistics = forward(machine, call)
        ctx.settled = machine, bound, packed, channel_dim, count
        ctx.strides = [tensor.stride() for tensor in call.inputs] if bound.noise else None
        ctx.save_for_backward(statistics, seed, *tensors)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """By kernels, or by the plain formula where the gradient is differentiated."""
        (g,) = gradients
        machine, bound, packed, channel_dim, count = ctx.settled
        statistics, seed, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        inputs = tensors[:count]
        if ctx.strides is not None:  # a hook on saved tensors may have laid them out anew
            inputs = [counted_as(tensor, strides) for tensor, strides in zip(inputs, ctx.strides, strict=True)]
        call = Several(bound, inputs, packed, tensors[count:], channel_dim, seed)
        if torch.is_grad_enabled() or not is_ordinary(g):
            return None, *by_plain(call, g, wanted)
        found = backward(machine, call, g, statistics, wanted[count:])
        return None, *(gradient if want else None for gradient, want in zip(found, wanted, strict=True))


# Past functorch's wrappers, which dispatch has ruled out, as in ``autograd``.
_apply: Any = super(torch.autograd.Function, _Recorded).apply
