"""Kernels recorded by autograd: tensors in, tensors out, with gradients, whichever machine runs them.

Saved for the backward pass: the input, the parameters, two numbers a sample for formulas with statistics, and the seed
of the noise. Second derivatives run on the plain formula.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from limen.kernels import plain
from limen.kernels.bound import BoundFormula
from limen.kernels.call import Call, Prepared, prepare
from limen.kernels.errors import NoKernelError
from limen.kernels.layout import ORDINARY, as_parameter, counted_as, has_memory, laid_out_as, planned
from limen.kernels.noise import new_seed
from limen.kernels.remade import remade
from limen.kernels.weights import gradient_of_logits, softmax, spread


class Machine(Protocol):
    """What runs kernels: the modules ``c.run`` and ``triton.run``."""

    def forward(
        self, bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, seed: Tensor | None, /
    ) -> tuple[Tensor, Tensor | None]:
        """The result, and the statistics of each sample if the formula takes any."""

    def run_backward(
        self, given: Prepared, g: Tensor, statistics: Tensor | None, wanted: tuple[str, ...], /
    ) -> tuple[Tensor, Tensor]:
        """The gradient of the input, and those of the wanted parameters as (wanted, channels) in float32.

        ``g`` is laid out as the input.
        """


def requires_grad(x: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Whether any of the tensors requires a gradient."""
    if x.requires_grad:
        return True
    for parameter in parameters:  # noqa: SIM110  # any() costs a generator, a fifth of a small call
        if parameter.requires_grad:
            return True
    return False


def record(machine: Machine, bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Run the kernels, recorded by autograd; logits may stand in the place of the weights."""
    seed = new_seed(x.device) if bound.noise else None
    result: Tensor = _apply(machine, bound, channel_dim, seed, x, *parameters)
    return result if bound.memory == "exact" else _made_again(machine, bound, channel_dim, seed, x, parameters, result)


def _made_again(
    machine: Machine,
    bound: BoundFormula,
    channel_dim: int,
    seed: Tensor | None,
    x: Tensor,
    parameters: Any,
    result: Any,
) -> Tensor:
    """The result, which what takes it need not keep."""
    strides = x.stride() if bound.noise else None

    def make(x: Tensor, *parameters: Tensor) -> Tensor:
        x = x if strides is None else counted_as(x, strides)
        return machine.forward(bound, x, parameters, channel_dim, seed)[0]

    return remade(result, make, (x, *parameters))


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        machine: Machine,
        bound: BoundFormula,
        channel_dim: int,
        seed: Tensor | None,
        x: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        y, statistics = machine.forward(bound, x, parameters, channel_dim, seed)
        ctx.fixed = machine, bound, channel_dim, x.stride() if bound.noise else None
        ctx.save_for_backward(x, statistics, seed, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """By kernels, or by the plain formula where the gradient is differentiated."""
        (g,) = gradients
        x, statistics, seed, *parameters = ctx.saved_tensors
        wants_x, *wanted = ctx.needs_input_grad[4:]
        machine, bound, channel_dim, strides = ctx.fixed
        if strides is not None:  # a hook on saved tensors may have laid it out anew
            x = counted_as(x, strides)
        call = Call(bound, x, parameters, channel_dim, seed)
        if torch.is_grad_enabled() or not is_ordinary(g):
            return None, None, None, None, *by_plain(call, g, [wants_x, *wanted])
        gx, by_parameter = backward(machine, call, g, statistics, wanted)
        return None, None, None, None, gx if wants_x else None, *by_parameter


# Function.apply looks for functorch's wrappers first, which dispatch has ruled out: two microseconds of a small call.
_apply: Any = super(torch.autograd.Function, _Recorded).apply


def is_ordinary(g: Tensor) -> bool:
    """Whether a gradient lies in memory, and is not a batch of them that stands for one."""
    return torch._C._functorch.peek_interpreter_stack() is None and type(g) in ORDINARY and has_memory(g)


def forward(run: Callable[[Prepared], tuple[Tensor, Tensor | None]], call: Call) -> tuple[Tensor, Tensor | None]:
    """What ``run`` makes of the call, which has one tensor a parameter; by the plain path where it has no kernel."""
    try:
        given = prepare(call)
        if given is not None:
            y, statistics = run(given)
            return y if given.x is call.x else laid_out_as(call.x, y), statistics
    except NoKernelError as error:
        say_once(call.bound, error)
    return _laid_out(call.x, _by_formula(call)), None


def backward(
    machine: Machine, call: Call, g: Tensor, statistics: Tensor | None, wanted: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradients of the input and of each wanted parameter, in their own types and shapes."""
    bound, parameters = call.bound, call.parameters
    weights, apart, wanted_apart = None, call, wanted
    if len(parameters) < len(bound.parameters):
        weights = softmax(parameters[0])
        apart = Call(bound, call.x, [*weights.unbind(), *parameters[1:]], call.channel_dim, call.seed)
        wanted_apart = [*[wanted[0]] * bound.weights, *wanted[1:]]
    names = tuple([name for name, want in zip(bound.parameters, wanted_apart, strict=True) if want])
    found = _by_kernel(machine, apart, g, statistics, names)
    if found is None:
        gx_plain, *rest = by_plain(call, g, [True, *wanted])
        assert gx_plain is not None
        return _laid_out(call.x, gx_plain), rest
    gx, sums = found
    if weights is None:
        return gx, shaped_sums(sums, parameters, wanted)
    by_weight, sums = torch.split_with_sizes(sums, (len(names) - sum(wanted[1:]), sum(wanted[1:])))
    of_logits = as_parameter(gradient_of_logits(by_weight, weights), parameters[0]) if wanted[0] else None
    return gx, [of_logits, *shaped_sums(sums, parameters[1:], wanted[1:])]


def _laid_out(x: Tensor, result: Tensor) -> Tensor:
    """The plain formula's result as the kernels would lay it out, where it has a layout."""
    return laid_out_as(x, result) if has_memory(result) else result


def _by_kernel(
    machine: Machine, call: Call, g: Tensor, statistics: Tensor | None, wanted: tuple[str, ...]
) -> tuple[Tensor, Tensor] | None:
    """What the machine's backward kernel gives; None where there is none for the call."""
    given = prepare(call)
    if given is None or (statistics is None) == (given.plan.layout == "sample"):
        return None
    if g.stride() != given.x.stride() or g.is_neg():
        g = torch.empty_like(given.x).copy_(g)
    try:
        gx, sums = machine.run_backward(given, g, statistics, wanted)
        return gx if given.x is call.x else laid_out_as(call.x, gx), sums
    except NoKernelError as error:
        say_once(call.bound, error)
        return None


def shaped_sums(sums: Tensor, parameters: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """The gradients of the wanted parameters, one row of the sums each."""
    rows = iter(sums.unbind())
    return [as_parameter(next(rows), p) if want else None for p, want in zip(parameters, wanted, strict=True)]


def by_plain(call: Call, g: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
    """The gradients of the input and the parameters by autograd on the plain formula.

    They are differentiable themselves if gradients are being recorded.
    """

    def plainly(x: Tensor, *parameters: Tensor) -> Tensor:
        return _by_formula(call._replace(x=x, parameters=parameters))

    return by_autograd(plainly, (call.x, *call.parameters), g, wanted)


def by_autograd(
    plainly: Callable[..., Tensor], tensors: Iterable[Tensor], g: Tensor, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients by the wanted tensors of what torch's operators make of all of them.

    They are differentiable themselves if gradients are being recorded.
    """
    recording = torch.is_grad_enabled()
    # Within an operator torch records nothing, whatever the mode of gradients: this is its way to have it record again.
    with torch.inference_mode(False), torch.enable_grad():
        # Aliases, because the path from one of them back to another is not this call's to follow.
        leaves = [tensor.view_as(tensor) for tensor in tensors]
        if not recording:
            leaves = [leaf.detach().requires_grad_(want) for leaf, want in zip(leaves, wanted, strict=True)]
        asked = [index for index, want in enumerate(wanted) if want]
        y = plainly(*leaves)
        found = torch.autograd.grad(y, [leaves[i] for i in asked], g, create_graph=recording, allow_unused=True)
    results: list[Tensor | None] = [None] * len(leaves)
    for index, gradient in zip(asked, found, strict=True):
        results[index] = gradient
    return results


def by_sample(call: Call, g: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """The gradient of each parameter from each sample alone: of shape (samples, values), with one tensor a parameter.

    By autograd on the plain formula, in which each sample has parameters of its own, with the noise of the whole call.
    """
    if call.x.ndim == 1:  # without an axis beside the samples theirs would be taken for that of channels
        mask = None if mask is None else mask.unsqueeze(-1)
        return by_sample(call._replace(x=call.x.unsqueeze(-1)), g.unsqueeze(-1), mask)
    leaves = [_for_each_sample(parameter, call) for parameter in call.parameters]
    with torch.enable_grad():
        y = plain.evaluate(*call._replace(parameters=leaves), _walked(call), mask)
        found = torch.autograd.grad(y, leaves, g, materialize_grads=True)
    return [gradient.flatten(1) for gradient in found]


def _for_each_sample(parameter: Tensor, call: Call) -> Tensor:
    """A copy of the parameter for each sample, along the first axis."""
    view = plain.broadcast(parameter.detach(), call.x, call.channel_dim)
    view = view.reshape(view.shape or [1] * call.x.ndim)
    return view.expand(len(call.x), *view.shape[1:]).clone().requires_grad_()


def _by_formula(call: Call) -> Tensor:
    """The plain formula, with the noise that the kernels give each element."""
    return plain.evaluate(*call, _walked(call))


def _walked(call: Call) -> Tensor:
    """In whose memory noise counts the elements."""
    if not call.bound.noise:
        return call.x
    with torch.no_grad():
        return planned(call.bound, call.x, spread(call.bound, call.parameters), call.channel_dim)[0]


_said: set[str] = set()


def say_once(bound: BoundFormula, error: NoKernelError) -> None:
    """Warn that kernels can be compiled, but not this one or not any more."""
    if bound.name not in _said:
        _said.add(bound.name)
        warnings.warn(f"{bound.name} runs on torch's operators, without a kernel: {error}", stacklevel=5)
