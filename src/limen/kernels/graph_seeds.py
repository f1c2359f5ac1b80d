"""Seeds in a compiled program: one operator, which gives what it gave before wherever the program computes it again.

With little memory to spend (``activation_memory_budget``, checkpointing inside the program) ``torch.compile`` computes
parts of the forward pass once more in the backward pass, and what draws numbers is no exception. A program's inputs it
always keeps. So the operator has one: a cell that the first call fills and puts a fresh one behind for the next run of
any program. The seeds of one run are made of what its cell holds, one for each call in the program.
"""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch._guards import TracingContext

from limen.stream import hashed, next_seed

EMPTY = -1


class _Next:
    """Holds the cell of the next run; programs take it up as an input each time they are run."""

    def __init__(self) -> None:
        self.cell = _fresh()


def _fresh() -> Tensor:
    # Whatever is on where it is made, the next program may be one that trains, and keeps it for its backward pass.
    with torch.inference_mode(False):
        return torch.full((1,), EMPTY, dtype=torch.int64, device="cpu")


_next = _Next()
_lock = threading.Lock()
_counts: WeakKeyDictionary[TracingContext, int] = WeakKeyDictionary()


def seed_in_graph(device: torch.device) -> Tensor:
    """A seed for a call that is being compiled."""
    seed: Tensor = torch.ops.limen.seed(_next.cell, _place(), device)
    return seed


def _place() -> int:
    """Which of a program's seeds comes next; asked once, when it is compiled.

    It depends on the program alone, so that whatever was compiled before, the same seeds come out.
    """
    program = TracingContext.get()
    _counts[program] = _counts.get(program, -1) + 1
    return _counts[program]


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` is on; asked once, when a program is compiled."""
    return torch._C._functorch.peek_interpreter_stack() is not None


for _function in (_place, is_transformed):
    # What torch.compiler.assume_constant_result does; calling it would import torch._dynamo with every limen.
    _function._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _seed(cell: Tensor, place: int, device: torch.device) -> Tensor:
    with _lock:
        drawn = int(cell)
        if drawn == EMPTY:
            drawn = next_seed()
            cell.fill_(drawn)
            _next.cell = _fresh()
    return torch.full((1,), hashed(b"%d %d" % (drawn, place)), dtype=torch.int64, device=device)


def _seed_fake(cell: Tensor, place: int, device: torch.device) -> Tensor:
    return torch.empty((1,), dtype=torch.int64, device=device)


_library: Any = torch.library.Library("limen", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch leaves it untyped
# The schema does not say that the cell is filled: torch would then put the filling behind the program's end.
_library.define("seed(Tensor cell, int place, Device device) -> Tensor")
_library.impl("seed", _seed, "CPU")
torch.library.register_fake("limen::seed", _seed_fake, lib=_library)
