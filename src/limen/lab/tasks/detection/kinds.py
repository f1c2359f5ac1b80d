"""What the class of a row says where that is no class to learn."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

NOTHING = -1
"""The class of a row that holds no object."""
N = TypeVar("N", int, Tensor)


def ignored(label: N) -> N:
    """The class of a row whose object is neither learned nor counted: below −1; it undoes itself.

    >>> ignored(0), ignored(2), ignored(ignored(2))
    (-2, -4, 2)
    """
    return -2 - label
