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
    return torch.float32 if x.dtype in HALF_TYPES else x.dtype


def at_least_float32(tensor: Tensor) -> Tensor:
    """A half type as float32, any other as it is."""
    return tensor.float() if tensor.dtype in HALF_TYPES else tensor
