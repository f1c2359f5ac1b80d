"""What all runs share, the data above all, brought to other processes once: its tensors apart from everything else.

Tensors are bytes that a file holds for all processes of a machine, mapped into memory, or Ray's store for all of a
cluster's; what is left is pickled and small.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from limen.lab.executing.work import Work

ALIGNED = 64
"""Bytes at whose multiples torch's own tensors begin; a kernel may compute otherwise from elsewhere."""


class Opening(Protocol):
    """What a process gets its work from."""

    def open(self) -> Work:
        """The work."""


@dataclass(frozen=True)
class Inherited:
    """Work that a fork has from its parent, whose memory it shares until one of them writes there."""

    work: Work

    def open(self) -> Work:
        """The work itself."""
        return self.work


@dataclass(frozen=True)
class Packed:
    """Work as bytes that need not be copied to be read."""

    pickled: bytes
    arrays: tuple[np.ndarray, ...]
    """The bytes of each tensor."""

    def open(self) -> Work:
        """The work, its tensors over the same memory."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*not writable.*")  # nothing writes into a study's data
            return _unpickled(self.pickled, [torch.from_numpy(array) for array in self.arrays])


@dataclass(frozen=True)
class Mapped:
    """Work whose tensors lie in a file."""

    pickled: bytes
    path: Path
    places: tuple[tuple[int, int], ...]
    """Where in the file the bytes of each tensor begin and end."""

    def open(self) -> Work:
        """The work, its tensors mapped into memory; what is written there stays with this process."""
        size = max((end for _, end in self.places), default=0)
        held = torch.from_file(str(self.path), shared=False, size=size, dtype=torch.uint8) if size else torch.empty(0)
        return _unpickled(self.pickled, [held[begin:end] for begin, end in self.places])


def pack(work: Work) -> Packed:
    """Work as bytes: its tensors apart, the rest pickled."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(work)
    return Packed(buffer.getvalue(), tuple(_bytes_of(tensor).numpy() for tensor in pickler.tensors))


def write(packed: Packed, path: Path) -> Mapped:
    """Keep the tensors of packed work in a file."""
    places: list[tuple[int, int]] = []
    with path.open("wb") as file:
        for array in packed.arrays:
            file.write(bytes(-file.tell() % ALIGNED))
            begin = file.tell()
            file.write(array.data)
            places.append((begin, file.tell()))
    return Mapped(packed.pickled, path, tuple(places))


def _bytes_of(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self.tensors: list[Tensor] = []
        self._place: dict[int, int] = {}

    def persistent_id(self, found: Any) -> Any:
        if type(found) is not Tensor or found.device.type != "cpu" or found.requires_grad:
            return None
        if id(found) not in self._place:
            self._place[id(found)] = len(self.tensors)
            self.tensors.append(found)
        return self._place[id(found)], found.dtype, tuple(found.shape)


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, held: Sequence[Tensor]) -> None:
        super().__init__(buffer)
        self.held = held

    def persistent_load(self, place: Any) -> Tensor:
        index, dtype, shape = place
        found: Tensor = self.held[index].view(dtype).reshape(shape)
        return found


def _unpickled(pickled: bytes, held: Sequence[Tensor]) -> Work:
    return cast("Work", _Unpickler(io.BytesIO(pickled), held).load())
