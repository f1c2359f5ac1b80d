"""Activations that overwrite their input, where the rest of the model may rely on that.

``ReLU(inplace=True)`` changes the tensor that others still hold. Where source and structure show that nobody does, as
after a convolution or a norm, the new activation is an ordinary one. Elsewhere it writes its result back, so that the
model computes what it did, with the new function for the old.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from limen.beside.pairs import OVERWRITES
from limen.surgery.derive import derive
from limen.surgery.flow import Flow, is_hooked
from limen.surgery.sites import Spot


def must_write_back(spot: Spot, flow: Flow) -> bool:
    """Whether a site overwrites a tensor that something else may hold."""
    if not spot.in_place:
        return False
    if spot.was_module and is_hooked(spot.original):
        return True  # a hook is given the input and may keep it
    if spot.call is not None:
        return not all(flow.is_fresh(*call) for call in spot.calls)
    if spot.place == "child" and type(spot.owner).forward is nn.Sequential.forward:
        return not flow.is_fresh_at(spot.owner, spot.name)  # type: ignore[arg-type]
    return True


def writing_back(activation: nn.Module) -> nn.Module:
    """Make an activation overwrite its input; it stays an instance of its class."""
    activation.__class__ = derive(type(activation), overwriting)
    return activation


def overwriting(base: type) -> dict[str, Any]:
    """A forward that leaves its result in its input.

    It works on a copy: autograd keeps what the activation was given, and would not allow that to change.
    """

    def forward(self: Any, x: Tensor) -> Tensor:
        return x.copy_(base.forward(self, x.clone()))  # type: ignore[attr-defined]

    def extra_repr(self: Any) -> str:
        inner: str = base.extra_repr(self)  # type: ignore[attr-defined]
        return f"{inner}, inplace=True" if inner else "inplace=True"

    return {"forward": forward, "extra_repr": extra_repr, OVERWRITES: True}
