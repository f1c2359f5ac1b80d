"""The plain path: the formula itself, on torch operators, differentiated by autograd.

It is right in every context (float64, forward-mode AD, ``torch.func``, higher derivatives, export, meta tensors) and
is what every other path is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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


def evaluate(formula: Callable[..., Any], x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
    """Run ``formula(x, **arguments)`` in the working type and round the result once to the type of ``x``.

    Tensors among the arguments must broadcast against ``x``; anything else is passed as it is.
    """
    work = working_dtype(x)
    converted = {name: value.to(work) if isinstance(value, Tensor) else value for name, value in arguments.items()}
    result: Tensor = formula(x.to(work), **converted)
    return result.to(x.dtype)
