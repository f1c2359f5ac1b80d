"""Peak memory of a piece of work, in bytes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(work: Callable[[], object], device: str = "cpu") -> int:
    """The most memory held at once by the tensors that ``work`` makes; parameters and inputs do not count.

    On CUDA the allocator is asked. On a CPU every operator's results are followed from creation to release; what an
    operator uses inside itself is not seen.

    >>> peak_memory(lambda: torch.ones(1000) + torch.ones(1000))
    12000
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    live = _LiveTensors()
    with live:
        work()
    return live.peak


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts the bytes of the storages that operators create, and that still live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor, new=False)
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor, new=True)
        return result

    def _note(self, tensor: torch.Tensor, new: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.known:
            return
        self.known.add(key)
        size = storage.nbytes() if new else 0
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


# Torch wraps it for torch.compile, which it would import to do so: 1.6 s.
_LiveTensors.__torch_dispatch__ = unwrap(_LiveTensors.__torch_dispatch__)  # type: ignore[method-assign]
