"""The random numbers of activations: a stream beside torch's, which moves with it and takes nothing from it.

Whatever else a network draws (dropout above all) must fall alike whichever activation it has, or two of them are not
compared on the same masks. So no seed of an activation's noise is drawn from torch's generator. It is hashed from the
generator's state, and the number of seeds taken is kept in that state too, in 31 bits that no draw reads: MT19937 makes
its next 624 words from all bits of the present ones but the lowest 31 of the first, and that word has been given out
before the next are made. So the stream does whatever torch's does, and nothing here has to hear of it:
``torch.manual_seed`` starts it again; ``get_rng_state``, ``set_rng_state`` and ``fork_rng`` keep and restore it, hence
activation checkpointing (of both kinds), Lightning's resumed runs, and loaders' workers too. A counter of our own could
not: when the generator is seeded again and nothing has been drawn since, its state is what it was.

On a GPU too the CPU's generator is asked: checkpointing restores it always, and Philox has no bit to spare. As with
torch's own draws, which thread comes first decides who gets what; a draw by another thread between the reading and the
writing of the state is drawn again, as under ``fork_rng``.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from limen.tracing import is_written_down

_Head = ctypes.c_uint64 * 8
"""The beginning of what ``torch.Generator.get_state`` gives on a CPU, which torch keeps as it is because it is stored:
the seed, two counts of the words left, the place among them, and the first five words."""
_FIRST = 3
_COUNTED = 2**31 - 1
"""The bits of the first word that hold the count."""

_lock = threading.Lock()


def _unlock_in_child() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # The thread that held the lock does not exist in a forked child.
    os.register_at_fork(after_in_child=_unlock_in_child)


def next_seed() -> int:
    """The stream's next number, of 31 bits.

    >>> _ = torch.manual_seed(0)
    >>> first, second, drawn = next_seed(), next_seed(), torch.rand(3)
    >>> _ = torch.manual_seed(0)
    >>> first != second, next_seed() == first, torch.equal(torch.rand(3), drawn)
    (True, True, True)
    """
    with _lock:
        state = torch.default_generator.get_state()
        head = _Head.from_address(state.data_ptr())
        seed = hashed(bytes(head))
        first = head[_FIRST]
        head[_FIRST] = (first & ~_COUNTED) | ((first + 1) & _COUNTED)
        torch.default_generator.set_state(state)
    return seed


def hashed(data: bytes) -> int:
    """31 bits that depend on all of the data, the same everywhere.

    >>> hashed(b"") == hashed(b""), hashed(b"") == hashed(b" ")
    (True, False)
    """
    return int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "little") >> 1


def generator(device: torch.device) -> torch.Generator:
    """A generator of the device that starts at the stream's next number, for torch's own operators.

    >>> generator(torch.device("cpu")).device
    device(type='cpu')
    """
    return torch.Generator(device).manual_seed(next_seed())


def reaches(x: Tensor) -> bool:
    """Whether noise for a tensor can come from the stream; where not, torch's own operator draws it.

    A program that is written down holds torch's operator, since it may run without limen; so does a captured graph,
    which must draw anew in each replay. A tensor made of others (DTensor) knows how its parts draw together.

    >>> reaches(torch.zeros(2)), reaches(torch.zeros(2, device="meta"))
    (True, False)
    """
    if is_written_down() or x.is_meta or is_traceable_wrapper_subclass(x):
        return False
    return not (x.is_cuda and torch.cuda.is_current_stream_capturing())
