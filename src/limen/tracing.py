"""Whether tensors are computed with at once, or a program of them is being written down."""

from __future__ import annotations

import torch
from torch.compiler import is_compiling


def is_written_down() -> bool:
    """Whether what is called now goes into a program: compiled, exported, traced.

    >>> is_written_down()
    False
    """
    return is_compiling() or torch._C._get_tracing_state() is not None or makes_fakes()


def makes_fakes() -> bool:
    """Whether one of torch's own modes is on, in which new tensors have no memory or operators are written down.

    >>> makes_fakes()
    False
    """
    kinds = torch._C._TorchDispatchModeKey
    if torch._C._dispatch_tls_is_dispatch_key_included(torch._C.DispatchKey.PreDispatch):
        return True
    return any(torch._C._get_dispatch_mode(kind) for kind in (kinds.FAKE, kinds.PROXY, kinds.FUNCTIONAL))
