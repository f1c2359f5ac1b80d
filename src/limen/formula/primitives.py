"""The primitives of formulas, each on tensors, on numbers and on SymPy symbols.

On tensors each one is a torch operator whose value and gradient neither overflow nor cancel where the
mathematical result does not, so that a formula made of them is a trustworthy reference. On symbols each one
is the function of the same name in :mod:`limen.formula.symbolic`, which is imported only then.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limen.formula.context import Context
from limen.stream import generator, reaches

__all__ = [
    "absolute",
    "cos",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "mean",
    "minimum",
    "over_rms",
    "rms",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "sqrt",
    "std",
    "step",
    "tanh",
    "uniform",
    "where",
]

SOFTPLUS_LINEAR_ABOVE = 40.0
"""Beyond this, softplus(u) equals u in float64 too (e^-40 = 4e-18); exp(40) is far from overflow in float32."""

OPERANDS = """Operands: numbers, floating tensors of any shapes that broadcast, or symbols.
Returns: a float for numbers, a tensor of the broadcast shape and the common type, or an expression."""
"""What the docstring of every primitive ends with."""


def _primitive(on_tensors: Callable[..., Any]) -> Callable[..., Any]:
    """Extend a function of tensors to plain numbers and to symbols, and say so in its docstring."""

    @functools.wraps(on_tensors)
    def apply(*operands: Any) -> Any:
        if any(isinstance(operand, Tensor) for operand in operands):
            return on_tensors(*operands)
        if all(isinstance(operand, (int, float)) for operand in operands):
            as_tensor = functools.partial(torch.tensor, dtype=torch.float64, device="cpu")
            return on_tensors(*map(as_tensor, operands)).item()
        from limen.formula import symbolic

        return symbolic.apply(on_tensors.__name__, *operands)

    apply.__doc__ = f"{inspect.cleandoc(on_tensors.__doc__ or '')}\n\n{OPERANDS}"
    return apply


@_primitive
def exp(u: Any) -> Any:
    """e^u, the exponential.

    >>> exp(0.0)
    1.0
    """
    return torch.exp(u)


@_primitive
def expm1(u: Any) -> Any:
    """e^u − 1, exact near 0.

    >>> expm1(1e-20)
    1e-20
    """
    return torch.expm1(u)


@_primitive
def log(u: Any) -> Any:
    """ln(u), the natural logarithm.

    >>> log(1.0)
    0.0
    """
    return torch.log(u)


@_primitive
def log1p(u: Any) -> Any:
    """ln(1 + u), exact near 0.

    >>> log1p(1e-20)
    1e-20
    """
    return torch.log1p(u)


@_primitive
def sqrt(u: Any) -> Any:
    """√u, the square root.

    >>> sqrt(4.0)
    2.0
    """
    return torch.sqrt(u)


@_primitive
def absolute(u: Any) -> Any:
    """\\|u\\|; the slope at 0 is 0.

    >>> absolute(-2.0)
    2.0
    """
    return torch.abs(u)


@_primitive
def sign(u: Any) -> Any:
    """−1, 0 or 1, the sign of u; the slope is 0.

    >>> sign(-2.0)
    -1.0
    """
    return torch.sign(u)


@_primitive
def sigmoid(u: Any) -> Any:
    """1 / (1 + e^−u).

    >>> sigmoid(0.0)
    0.5
    """
    return torch.sigmoid(u)


@_primitive
def tanh(u: Any) -> Any:
    """(e^u − e^−u) / (e^u + e^−u), the hyperbolic tangent.

    >>> tanh(0.0)
    0.0
    """
    return torch.tanh(u)


@_primitive
def softplus(u: Any, sharpness: Any = 1.0) -> Any:
    """ln(1 + e^(ku))/k, without overflow and exact in float64 for large u; k is the ``sharpness``, a number above 0.

    >>> softplus(1000.0), softplus(0.0, 2.0)
    (1000.0, 0.34657359027997264)
    """
    return F.softplus(u, beta=float(sharpness), threshold=SOFTPLUS_LINEAR_ABOVE)


@_primitive
def erf(u: Any) -> Any:
    """2/√π · ∫₀ᵘ e^(−t²) dt, the error function.

    >>> erf(0.0)
    0.0
    """
    return torch.erf(u)


@_primitive
def sin(u: Any) -> Any:
    """sin(u), u in radians.

    >>> sin(0.0)
    0.0
    """
    return torch.sin(u)


@_primitive
def cos(u: Any) -> Any:
    """cos(u), u in radians.

    >>> cos(0.0)
    1.0
    """
    return torch.cos(u)


@_primitive
def step(u: Any) -> Any:
    """1 where u ≥ 0, 0 where u < 0, NaN where u is NaN; the slope is 0.

    >>> step(0.0)
    1.0
    """
    at_or_above = (u >= 0).to(u.dtype)
    return torch.where(u.isnan(), u, at_or_above)


@_primitive
def maximum(u: Any, v: Any) -> Any:
    """The larger of u and v, NaN if either is; at a tie the whole gradient goes to u.

    >>> maximum(1.0, 2.0)
    2.0
    """
    # torch.maximum would halve the gradient at a tie, which a kernel's comparison cannot.
    return u.clamp(min=v) if not isinstance(v, Tensor) else torch.where((u >= v) | (u != u), u, v)


@_primitive
def minimum(u: Any, v: Any) -> Any:
    """The smaller of u and v, NaN if either is; at a tie the whole gradient goes to u.

    >>> minimum(1.0, 2.0)
    1.0
    """
    return u.clamp(max=v) if not isinstance(v, Tensor) else torch.where((u <= v) | (u != u), u, v)


@_primitive
def where(condition: Any, u: Any, v: Any) -> Any:
    """``u`` where the condition holds, else ``v``.

    Both branches are computed: keep each finite where it is not selected, for example by clamping its argument,
    or its gradient becomes 0·∞ = NaN. The condition is a tensor of bool, or a comparison of symbols.

    >>> where(torch.tensor([True, False]), 1.0, 2.0)
    tensor([1., 2.])
    """
    return torch.where(condition, u, v)


def mean(x: Any, context: Context | None = None) -> Any:
    """Mean of the input over its context, kept broadcastable against ``x``; 0 for an empty sample.

    With a mask in the context, over what the mask lets count.

    Args:
        x: a floating tensor, at least 1-D, or a symbol.
        context: over which axes; ``Context()``, all but the first, if not given.

    Returns:
        A tensor of the same type, in whose shape those axes are 1; or an expression.

    Raises:
        ShapeError: for a tensor without the axes of the context.

    >>> mean(torch.tensor([[1.0, 2.0, 6.0]]))
    tensor([[3.]])
    """
    if not isinstance(x, Tensor):
        return _symbolic_statistic("mean", x)
    context = context or Context()
    axes = context.axes(tuple(x.shape))
    if not axes:
        return x
    if context.mask is not None:
        return _mean_of(x, axes, context.mask)
    if x.numel() == 0:
        return x.sum(axes, keepdim=True)
    _, centre, unit = _scaled(x, axes)
    return centre * unit


def std(x: Any, context: Context | None = None) -> Any:
    """Population deviation (divisor N) of the input over its context; 0 with gradient 0 for a constant sample.

    With a mask in the context, over what the mask lets count.

    Args:
        x: a floating tensor, at least 1-D, or a symbol.
        context: over which axes; ``Context()``, all but the first, if not given.

    Returns:
        A tensor of the same type, in whose shape those axes are 1; or an expression.

    Raises:
        ShapeError: for a tensor without the axes of the context.

    >>> std(torch.tensor([[1.0, 1.0, 4.0, 4.0]]))
    tensor([[1.5000]])
    """
    if not isinstance(x, Tensor):
        return _symbolic_statistic("std", x)
    context = context or Context()
    axes = context.axes(tuple(x.shape))
    if not axes:
        return torch.zeros_like(x)
    if x.numel() == 0:
        return torch.zeros_like(x.sum(axes, keepdim=True))
    mask = context.mask
    if mask is None:
        scaled, centre, scale = _scaled(x, axes)
        centred = scaled - centre
    else:
        centred, scale = torch.where(mask, x - _mean_of(x, axes, mask), 0.0), x.new_ones(())
    # In units of the largest deviation no square overflows; the unit cancels in every derivative. torch.std has the
    # same value and gradient, and a second derivative that is NaN where the deviation is 0.
    unit = centred.detach().abs().amax(axes, keepdim=True)
    constant = unit == 0
    unit = torch.where(constant, 1.0, unit)
    squares = (centred / unit).square()
    variance = squares.mean(axes, keepdim=True) if mask is None else _mean_of(squares, axes, mask)
    return torch.where(constant, 0.0, scale * (unit * torch.where(constant, 1.0, variance).sqrt()))


def rms(u: Any, context: Context | None = None, eps: float = 0.0) -> Any:
    """√(mean of u² + ``eps``) over a context, kept broadcastable against ``u``; where that is 0, so is its gradient.

    With a mask in the context, over what the mask lets count. It has no compiled kernel.

    Args:
        u: a floating tensor, at least 1-D, or an expression: the input or anything made of it.
        context: over which axes; ``Context()``, all but the first, if not given.
        eps: a number, 0 or more.

    Returns:
        A tensor of the same type, in whose shape those axes are 1; or an expression.

    Raises:
        ShapeError: for a tensor without the axes of the context.

    >>> rms(torch.tensor([[1.0, 7.0]]))
    tensor([[5.]])
    """
    if not isinstance(u, Tensor):
        return _symbolic_statistic("rms", u, eps)
    _, root, unit = _by_largest(u, 1, context or Context(), eps)
    return root * unit


def over_rms(u: Any, power: int = 1, context: Context | None = None, eps: float = 0.0) -> Any:
    """u^p / √(mean of u^(2p) + ``eps``) over a context: a power over its root mean square, without overflow; 0 for 0/0.

    With a mask in the context, over what the mask lets count. It has no compiled kernel.

    Args:
        u: a floating tensor, at least 1-D, or an expression.
        power: p, a whole number above 0.
        context: over which axes; ``Context()``, all but the first, if not given.
        eps: a number, 0 or more.

    Returns:
        A tensor of the same shape and type, or an expression.

    Raises:
        ShapeError: for a tensor without the axes of the context.

    >>> over_rms(torch.tensor([[1e30, -7e30]]))
    tensor([[ 0.2000, -1.4000]])
    """
    if not isinstance(u, Tensor):
        return u**power / rms(u**power, context, eps)
    powers, root, _ = _by_largest(u, power, context or Context(), eps)
    return powers / torch.where(root == 0, 1.0, root)


def _by_largest(u: Tensor, power: int, context: Context, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """A power in a unit in which no square of it overflows, its root mean square in that unit, and the unit of ``u``.

    The unit is the largest of what counts, or what ``eps`` is a power of; it cancels in every derivative.
    """
    axes, mask = context.axes(tuple(u.shape)), context.mask
    counted = u if mask is None else torch.where(mask, u, 0.0)
    least = eps ** (0.5 / power)
    unit = _largest_of(counted.detach().abs(), axes).clamp(min=least)
    unit = torch.where(unit == 0, 1.0, unit)
    powers = (counted / unit) ** power
    square = _average(powers.square(), axes, mask) + (least / unit) ** (2 * power)
    nothing = square == 0
    return powers, torch.where(nothing, 0.0, torch.where(nothing, 1.0, square).sqrt()), unit


def _largest_of(sizes: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The largest over axes; 0 where there is none, and each by itself without axes."""
    if not axes:
        return sizes
    return sizes.amax(axes, keepdim=True) if sizes.numel() else sizes.sum(axes, keepdim=True)


def _average(x: Tensor, axes: tuple[int, ...], mask: Tensor | None) -> Tensor:
    """The mean of what counts, over axes that there may be none of; 0 where nothing counts."""
    if not axes:
        return x
    if mask is None and x.numel():
        return x.mean(axes, keepdim=True)
    return _mean_of(x, axes, torch.ones_like(x, dtype=torch.bool) if mask is None else mask)


def _scaled(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The input in a unit in which no sum over it overflows, its mean in that unit, and the unit, a power of 2.

    The mean of a constant sample is that constant, where a sum divided by its count may lie beside it.
    """
    values = x.detach()
    low, high = values.amin(axes, keepdim=True), values.amax(axes, keepdim=True)
    large = 2.0 ** (math.frexp(torch.finfo(x.dtype).max)[1] // 2)
    unit = torch.ones_like(low).masked_fill(torch.maximum(-low, high) > large, large)
    scaled = x / unit
    centre = scaled.mean(axes, keepdim=True)
    beside = torch.where(low == high, low / unit - centre.detach(), 0.0)
    return scaled, centre + beside, unit


def _mean_of(x: Tensor, axes: tuple[int, ...], mask: Tensor) -> Tensor:
    """The mean of what counts; 0 where nothing does."""
    counts = mask.expand(x.shape).sum(axes, keepdim=True).clamp(min=1)
    return torch.where(mask, x, 0.0).sum(axes, keepdim=True) / counts.to(x.dtype)


def uniform(like: Any) -> Any:
    """Independent noise from U(0, 1) for every element of ``like``: float32, of its shape; or an expression.

    It comes from a stream of its own, which ``torch.manual_seed`` starts, and moves nothing that torch draws.

    >>> uniform(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    if isinstance(like, Tensor):
        if not reaches(like):
            return torch.rand_like(like, dtype=torch.float32)
        source = generator(like.device)
        return torch.rand(like.shape, generator=source, dtype=torch.float32, device=like.device)
    return _symbolic_statistic("uniform", like)


def _symbolic_statistic(name: str, *operands: Any) -> Any:
    from limen.formula import symbolic

    return symbolic.apply(name, *operands)
