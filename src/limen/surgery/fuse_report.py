"""What was fused, what was not and why, and the way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from limen.errors import LimenError


@dataclass(frozen=True)
class Pair:
    """One place in a model where several parts are computed at once.

    >>> Pair("1, 2", "norm", "BatchNorm2d and ReLU").path
    '1, 2'
    """

    path: str
    """Of the module whose ``forward`` it is, or of both parts of a Sequential."""
    kind: str
    """``norm``, ``norm and sum`` or ``gate``."""
    what: str
    location: str = ""
    """``file:line`` of the activation, where a ``forward`` calls it."""


@dataclass(frozen=True)
class Left:
    """One place where parts that stand beside each other are computed one after the other, and why.

    >>> Left("1, 2", "InstanceNorm2d and ReLU", "InstanceNorm2d is computed by itself").reason
    'InstanceNorm2d is computed by itself'
    """

    path: str
    what: str
    reason: str
    location: str = ""


@dataclass
class FuseReport:
    """What :func:`fuse_` did: ``pairs`` fused, ``left`` with the reason.

    >>> import limen
    >>> report = limen.fuse_(nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.LayerNorm(9), nn.GELU()))
    >>> [pair.path for pair in report.pairs], [left.reason for left in report.left]
    (['0, 1'], ['LayerNorm of 9 values is as fast by itself; it takes 64'])
    """

    pairs: list[Pair] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    output_drift: float | None = None
    """With example inputs: root mean square of the change of the outputs in evaluation, relative to theirs."""
    gradient_drift: float | None = None
    """The same of outputs and all gradients as in training."""
    changed: list[tuple[nn.Module, type, type]] = field(default_factory=list, repr=False)
    """What has another class now: the object, its class before, its class now."""

    def undo(self) -> None:
        """Give every module its own class back; a second call does nothing.

        Raises:
            LimenError: if a module has got a third class since. Nothing is put back then.

        >>> import limen
        >>> model = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())
        >>> limen.fuse_(model).undo()
        >>> type(model) is nn.Sequential
        True
        """
        for owner, _, now in self.changed:
            if type(owner) is not now:
                raise LimenError(
                    f"a {type(owner).__name__} that was fused has been changed since; undo that first. Nothing was "
                    "undone."
                )
        while self.changed:
            owner, before, _ = self.changed.pop()
            owner.__class__ = before

    def redo(self, changed: list[tuple[nn.Module, type, type]]) -> None:
        """Take an undoing back, given what had been changed.

        >>> FuseReport().redo([])
        """
        self.changed = changed
        for owner, _, now in changed:
            owner.__class__ = now

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON.

        >>> FuseReport(pairs=[Pair("1, 2", "norm", "BatchNorm2d and ReLU")]).as_dict()["pairs"]
        [{'path': '1, 2', 'kind': 'norm', 'what': 'BatchNorm2d and ReLU'}]
        """
        return {
            "pairs": [_plain(pair) for pair in self.pairs],
            "left": [_plain(left) for left in self.left],
            "notes": self.notes,
            "output_drift": self.output_drift,
            "gradient_drift": self.gradient_drift,
        }

    def __str__(self) -> str:
        lines = [f"{len(self.pairs)} fused, {len(self.left)} left"]
        lines += [f"  {pair.path or '(the model)'}: {pair.what}" for pair in self.pairs]
        lines += [f"  {left.path or '(the model)'}: {left.what} left ({left.reason})" for left in self.left]
        lines += [f"  note: {note}" for note in self.notes]
        if self.output_drift is not None:
            lines.append(f"  outputs moved by {self.output_drift:.1e} of their size")
        if self.gradient_drift is not None:
            lines.append(f"  outputs and gradients in training moved by {self.gradient_drift:.1e}")
        return "\n".join(lines)


def _plain(item: Pair | Left) -> dict[str, Any]:
    return {key: value for key, value in vars(item).items() if value}
