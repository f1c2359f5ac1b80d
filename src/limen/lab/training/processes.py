"""The processes that train one network together, seen from one of them; mostly there is only one."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, distributed


def count() -> int:
    """How many there are."""
    return distributed.get_world_size() if _several() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if _several() else 0


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, of tensors alike."""
    if _several():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def joined(values: list[Tensor]) -> list[Tensor]:
    """The tensors of all processes, in their order."""
    if not _several():
        return values
    found: list[list[Tensor]] = [[] for _ in range(count())]
    distributed.all_gather_object(found, [value.cpu() for value in values])
    return [value for each in found for value in each]


T = TypeVar("T")


def told(what: T) -> T:
    """What the first process says."""
    if not _several():
        return what
    box = [what]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def meet() -> None:
    """Wait for the others that torchrun has started."""
    if not _several():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    """Part in order."""
    if _several():
        distributed.destroy_process_group()


def gathered(what: object) -> list[object]:
    """What each of them has, in their order."""
    found: list[object] = [what] * count()
    if _several():
        distributed.all_gather_object(found, what)
    return found
