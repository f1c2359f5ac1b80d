"""Over which axes of its input a formula takes statistics."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from torch import Tensor

from limen.errors import ShapeError, SpecError, suggest

ContextKind = Literal["sample", "channel", "token"]
"""The kinds of context."""


class Context(NamedTuple):
    """The elements whose mean and deviation one element is compared with.

    ========= ============================================ =========================================
    kind      statistics over                              one mean for each
    ========= ============================================ =========================================
    sample    every axis but the first                     sample (the ASH paper)
    channel   every axis but the first and the channels    sample and channel
    token     the last axis                                token; the only causal choice in sequences
    ========= ============================================ =========================================

    >>> Context("sample").axes((8, 3, 4, 4))
    (1, 2, 3)
    >>> Context("channel", channel_dim=-1).axes((8, 16, 3))
    (1,)
    """

    kind: ContextKind = "sample"
    channel_dim: int = 1
    mask: Tensor | None = None
    """True where values count, broadcasting against the input; None where all do. Not part of a derived formula."""

    def axes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes to reduce for an input of this shape; empty where each element stands alone.

        Raises:
            ShapeError: for an input of no dimensions, or for ``channel`` without an axis beside batch and channels.

        >>> Context("token").axes((8, 16, 3))
        (2,)
        """
        if not shape:
            raise ShapeError(
                f"context={self.kind!r} needs at least a batch axis, and the input is 0-dimensional; "
                "add one with x.unsqueeze(0)."
            )
        if self.kind == "token":
            return (len(shape) - 1,)
        if self.kind == "sample":
            return tuple(range(1, len(shape)))
        return self._spatial_axes(shape)

    def _spatial_axes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        channel = self.channel_dim % len(shape)
        axes = tuple(axis for axis in range(1, len(shape)) if axis != channel)
        if not axes:
            raise ShapeError(
                f"context='channel' needs an axis beside batch and channels, and the input has shape {shape}; "
                "use context='sample' or 'token'."
            )
        return axes


def check_kind(kind: str) -> ContextKind:
    """Return ``kind`` if it names a context, else say which there are.

    >>> check_kind("samples")
    Traceback (most recent call last):
    limen.errors.SpecError: no context is called 'samples'. Did you mean 'sample'?
    """
    for known in get_args(ContextKind):
        if kind == known:
            return known  # type: ignore[no-any-return]  # get_args returns Any; the values are ContextKind
    raise SpecError(f"no context is called {kind!r}. {suggest(str(kind), get_args(ContextKind))}")
