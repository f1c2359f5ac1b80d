"""In which type numbers are computed."""

from __future__ import annotations

import torch
from torch import Tensor

from limen.errors import DtypeError

HALF_TYPES = (torch.float16, torch.bfloat16)


def working_dtype(x: Tensor) -> torch.dtype:
    """The type to compute in: float32 for half types, else the input's own."""
    if not x.is_floating_point():
        raise DtypeError(
            f"activations take floating-point tensors, and the input is {x.dtype}; convert it with x.float()."
        )
    if x.dtype.itemsize < 2:
        raise DtypeError(
            f"activations take float64, float32, bfloat16 and float16, and the input is {x.dtype}; convert it with "
            "x.bfloat16()."
        )
    return torch.float32 if x.dtype in HALF_TYPES else x.dtype


def parameter_dtype(asked: torch.dtype | None) -> torch.dtype:
    """The type of new parameters: the one asked for, else torch's default, but no half type.

    A half type has no numbers near 1 for the steps of usual learning rates, so that a parameter would never move.
    """
    default: torch.dtype = asked or torch.get_default_dtype()
    return torch.float32 if asked is None and default in HALF_TYPES else default


def at_least_float32(tensor: Tensor) -> Tensor:
    """A half type as float32, any other as it is."""
    return tensor.float() if tensor.dtype in HALF_TYPES else tensor
