"""Which positions of an input count: masks as users have them, made one boolean tensor that broadcasts against it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from limen.errors import DtypeError, ShapeError, SpecError

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def fitted(mask: Tensor, x: Tensor) -> Tensor:
    """A mask or lengths as a mask with as many axes as ``x``, True where values count.

    Args:
        mask: bool or 0 and 1, of the leading axes of ``x``, such as (batch, positions), or of all, where 1 stands for
            any length; or whole numbers of shape (batch,): how many positions of each sample count, along axis 1.
        x: any input but a nested one.

    Raises:
        SpecError: for what is no tensor, and for a nested input.
        DtypeError: for other types.
        ShapeError: for other shapes, and lengths that are too large.

    >>> fitted(torch.tensor([1, 2]), torch.zeros(2, 3, 4)).squeeze(-1).tolist()
    [[True, False, False], [True, True, False]]
    """
    if x.is_nested:
        raise SpecError("a nested tensor has no padding that a mask could leave out; call the activation without one.")
    if not isinstance(mask, Tensor):
        raise SpecError(f"a mask is a tensor of bool, True where values count, and {type(mask).__name__} was given.")
    if mask.dtype != torch.bool and mask.dtype not in _WHOLE:
        raise DtypeError(
            f"a mask has type bool, True where values count, or whole numbers, and {mask.dtype} was given; of a mask "
            "that is added to scores give mask == 0."
        )
    if mask.ndim == 1 and mask.dtype != torch.bool and x.ndim > 1:
        mask = _of_lengths(mask, x)
    shape = (*mask.shape, *[1] * (x.ndim - mask.ndim))
    if not mask.ndim or len(shape) != x.ndim or any(a not in (1, b) for a, b in zip(shape, x.shape, strict=True)):
        raise ShapeError(
            f"a mask of shape {tuple(mask.shape)} does not fit an input of shape {tuple(x.shape)}: it has the input's "
            "leading axes, such as (batch, positions), or all of them, each of the input's length or 1."
        )
    if mask.dtype != torch.bool and not is_compiling() and bool(((mask != 0) & (mask != 1)).any()):
        raise DtypeError(f"a mask of {mask.dtype} holds 0 and 1, and its values reach {mask.max().item()}.")
    return mask.reshape(shape).bool()


def _of_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    if len(lengths) != len(x):
        raise ShapeError(f"there are {len(lengths)} lengths for {len(x)} samples; give one a sample.")
    if not is_compiling() and bool((lengths > x.shape[1]).any() | (lengths < 0).any()):
        raise ShapeError(
            f"lengths from {lengths.min().item()} to {lengths.max().item()} do not fit the {x.shape[1]} positions on "
            f"axis 1 of an input of shape {tuple(x.shape)}; where another axis holds them give a mask."
        )
    return torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
