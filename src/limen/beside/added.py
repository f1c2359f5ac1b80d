"""What is added to an activation's input, a bias for each channel or another tensor, computed with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.fx import Proxy

from limen.beside.glu import paired
from limen.beside.making import Called, made, one_pass_of
from limen.errors import ShapeError, SpecError
from limen.kernels import dispatch
from limen.kernels.autograd import requires_grad
from limen.kernels.bound import BoundFormula, keeping, shared
from limen.kernels.plain import check_channels
from limen.kernels.several import APART, Several
from limen.kernels.weights import spread

BIAS, OTHER = "bias of x", "other(x)"
"""What is added is called among the parameters or inputs; nothing else can have such names."""


class AddedFormula:
    """f(x + u) for a formula f, as one formula of two inputs, or of one more parameter."""

    def __init__(self, activation: Callable[..., Any], added: str) -> None:
        self.activation = activation
        self.added = added
        self.__qualname__ = f"Added {getattr(activation, '__qualname__', type(activation).__name__)}"

    def __call__(self, x: Any, **arguments: Any) -> Any:
        """The activation of the sum."""
        added = arguments.pop(self.added)
        return self.activation(x + added, **arguments)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, AddedFormula) and self.activation == other.activation
        return same and self.added == other.added  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((AddedFormula, self.activation, self.added))


@functools.lru_cache(maxsize=4096)
def _with_bias(bound: BoundFormula) -> BoundFormula:
    """The bound formula of an activation of a biased input."""
    names = (BIAS, *bound.parameters)
    formula = AddedFormula(bound.function, BIAS)
    return shared(BoundFormula(formula, names, bound.constants, bound.noise, bound.plain_only))


@functools.lru_cache(maxsize=4096)
def _with_other(bound: BoundFormula) -> BoundFormula:
    """The bound formula of an activation of a sum."""
    fixed = bound.parameters, bound.constants, bound.noise, bound.plain_only, bound.weights
    return shared(BoundFormula(AddedFormula(bound.function, OTHER), *fixed, (OTHER,)))


def biased(called: Called, x: Tensor, bias: Tensor, channel_dim: int) -> Tensor:
    """The activation that is called so, of an input and a bias for each of its channels."""
    bound, tensors, own = called
    one_axis = own % x.ndim == channel_dim % x.ndim or all(tensor.numel() == 1 for tensor in tensors)
    if one_axis and not bound.contexts:
        whole = keeping(_with_bias(bound), bound.memory)
        return dispatch.evaluate(whole, x, (bias, *spread(bound, tensors)), channel_dim)
    return dispatch.evaluate(bound, x + _along(x, bias, channel_dim), tensors, own)


def _along(x: Tensor, bias: Tensor, channel_dim: int) -> Tensor:
    view = [1] * x.ndim
    view[channel_dim] = -1
    return bias.reshape(view).to(x.dtype)


def summed_up(called: Called, x: Tensor, other: Tensor) -> Tensor:
    """The activation that is called so, of a sum.

    Where gradients are recorded the sum is computed first and is all that is kept: one pass would move as many bytes,
    and keep both inputs.
    """
    bound, tensors, channel_dim = called
    recorded = torch.is_grad_enabled() and requires_grad(x, (other, *tensors))
    if recorded or bound.contexts or is_compiling():
        return dispatch.evaluate(bound, x + other, tensors, channel_dim)
    return dispatch.evaluate_several(Several(_with_other(bound), (x, other), APART, tensors, channel_dim))


def alike(x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The terms of a sum, in one type.

    Raises:
        ShapeError: for different shapes.
    """
    if x.shape != other.shape:
        raise ShapeError(
            f"what is added has the input's shape, and theirs are {tuple(other.shape)} and {tuple(x.shape)}; expand "
            "the smaller one first."
        )
    return paired(x, other)


class BiasAct(nn.Module):
    """A bias for each channel and an activation, activation(x + bias), in one pass.

    For a layer without a bias of its own. Kept for the backward pass: the input and the parameters.

    Args:
        activation: a spec, a class or a module, as :class:`limen.GLU` takes it.
        channels: how many biases there are; they begin at 0.
        channel_dim: the axis of the channels: 1 behind a convolution, -1 behind a linear layer.
        **named: further arguments of the activation where a spec or a class is given.

    Shape: any with so many channels; the output has the input's shape and type.

    Raises:
        SpecError: when made, for fewer than one channel, or an activation that does not exist or changes its input's
            shape.
        ShapeError: when called, for another number of channels.

    >>> import torch, limen
    >>> limen.BiasAct("relu", 2, channel_dim=-1)(torch.tensor([[1.0, -1.0]]))
    tensor([[1., 0.]], grad_fn=<_RecordedBackward>)
    """

    def __init__(
        self, activation: str | type[nn.Module] | nn.Module, channels: int, *, channel_dim: int = 1, **named: Any
    ) -> None:
        super().__init__()
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise SpecError(f"BiasAct: channels={channels!r} is not possible: give a number from 1.")
        self.channel_dim = channel_dim
        self.bias = nn.Parameter(torch.zeros(channels))
        self.activation = made(activation, "BiasAct", named)

    def forward(self, x: Tensor) -> Tensor:
        """The activation of the biased input, whose shape and type it has.

        Args:
            x: float64, float32, bfloat16 or float16, with the channels on their axis.

        >>> import torch, limen
        >>> limen.BiasAct("relu", 3).forward(torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])
        """
        given: Any = x
        if type(given) is Proxy:
            return _as_one_step(self, given)
        check_channels(self.bias.numel(), x, self.channel_dim)
        called = one_pass_of(self.activation)
        if called is not None:
            return biased(called, x, self.bias, self.channel_dim)
        result: Tensor = self.activation(x + _along(x, self.bias, self.channel_dim))
        return result

    def extra_repr(self) -> str:
        """How many biases, and on which axis.

        >>> import limen
        >>> limen.BiasAct("relu", 3).extra_repr()
        '3, channel_dim=1'
        """
        return f"{self.bias.numel()}, channel_dim={self.channel_dim}"


class ResidualAct(nn.Module):
    """A sum and an activation, activation(x + other): the end of a residual block.

    One pass where no gradient is recorded. Where one is, the sum is computed first and is all that is kept.

    Args:
        activation: a spec, a class or a module, as :class:`limen.GLU` takes it.
        **named: further arguments of the activation where a spec or a class is given.

    Shape: both any, the same for both; the output has it too, and the type that torch's promotion gives.

    Raises:
        SpecError: when made, for an activation that does not exist or changes its input's shape.
        ShapeError: when called, for tensors of different shapes.

    >>> import torch, limen
    >>> limen.ResidualAct("relu")(torch.tensor([1.0, -3.0]), torch.tensor([1.0, 1.0]))
    tensor([2., 0.])
    """

    def __init__(self, activation: str | type[nn.Module] | nn.Module, **named: Any) -> None:
        super().__init__()
        self.activation = made(activation, "ResidualAct", named)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """The activation of the sum.

        Args:
            x: any shape, float64, float32, bfloat16 or float16.
            other: the same shape.

        >>> import torch, limen
        >>> limen.ResidualAct("relu").forward(torch.ones(2, 3), torch.ones(2, 3)).shape
        torch.Size([2, 3])
        """
        given: Any = x
        if type(given) is Proxy:
            return _as_one_step(self, given, other)
        x, other = alike(x, other)
        called = one_pass_of(self.activation)
        if called is not None:
            return summed_up(called, x, other)
        result: Tensor = self.activation(x + other)
        return result

    def extra_repr(self) -> str:
        """Nothing beside the activation.

        >>> import limen
        >>> limen.ResidualAct("relu").extra_repr()
        ''
        """
        return ""


def _as_one_step(module: nn.Module, x: Any, *others: Any) -> Tensor:
    """What torch.fx sees of it: one step, as of an activation."""
    step: Tensor = x.tracer.create_proxy("call_module", x.tracer.path_of_module(module), (x, *others), {})
    return step
