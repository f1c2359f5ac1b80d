"""The idx format of MNIST: a four-byte magic number, the sizes as big-endian 32-bit integers, then the bytes.

http://yann.lecun.com/exdb/mnist/ describes it; Fashion-MNIST uses it too.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from limen.errors import DataError
from limen.lab.data.images import Split
from limen.lab.data.members import content_of, reading

LARGEST_IDX = 2**28
"""Bytes."""


def read_payload(path: Path) -> bytes:
    """Return the content of a file, unpacked if its name ends in ``.gz``."""
    with reading(path, "gzip file" if path.suffix == ".gz" else "file"):
        content = content_of(path)
        return _unpacked(content, path) if path.suffix == ".gz" else content


def _unpacked(content: bytes, path: Path) -> bytes:
    """In pieces, so that no more is unpacked than is allowed; MNIST's largest file has 47 MB."""
    pieces, length = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        while piece := file.read(2**20):
            pieces.append(piece)
            length += len(piece)
            if length > LARGEST_IDX:
                raise DataError(f"{path} unpacks to more than {LARGEST_IDX:,} bytes; give the official file.")
    return b"".join(pieces)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an idx file of bytes with so many dimensions: 3 for images, 1 for labels."""
    content = read_payload(path)
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if content[:4] != magic:
        raise DataError(
            f"{path} begins with {content[:4].hex() or 'nothing'}, but an idx file of "
            f"{'images' if dimensions == 3 else 'labels'} begins with {magic.hex()}; give the official file."
        )
    if len(content) < header:
        raise DataError(f"{path} is truncated in its header; copy or download it again.")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    found, expected = len(content) - header, math.prod(shape)
    if found != expected:
        fault = "truncated" if found < expected else "too long"
        raise DataError(
            f"{path} is {fault}: its header promises {'×'.join(map(str, shape))} = {expected} bytes, "
            f"{found} follow; copy or download it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_idx_split(images_path: Path, labels_path: Path, classes: int) -> Split:
    """Read a file of images and a file of their labels."""
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels; "
            "give two files that belong together."
        )
    if images.size == 0:
        raise DataError(f"{images_path} holds no pixels (its shape is {images.shape}); give the official file.")
    return Split(torch.tensor(images)[:, None], checked_labels(labels, classes, labels_path))


def checked_labels(labels: NDArray[np.uint8], classes: int, path: Path | str) -> torch.Tensor:
    """Return labels as int64; one outside of 0 to ``classes - 1`` is an error that names its position."""
    (outside,) = np.nonzero(labels >= classes)
    if len(outside):
        raise DataError(
            f"Label {outside[0]} of {path} is {labels[outside[0]]}, outside of 0 to {classes - 1}; "
            "give the official file."
        )
    return torch.tensor(labels, dtype=torch.int64)
