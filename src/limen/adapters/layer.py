"""A spec in the place of a layer class: what libraries take as ``act_layer=nn.ReLU``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from limen.activations.base import Activation
from limen.activations.registry import create
from limen.errors import MissingExtraError, SpecError

PREFIX = "limen:"
"""What the names of our activations start with in other libraries."""


@dataclass(frozen=True)
class ActivationLayer:
    """Makes a new activation of one spec at each call, as a layer class does; it can be compared, pickled and copied.

    ``inplace``, which many libraries pass to every activation, is taken and has no effect.
    """

    spec: str

    def __post_init__(self) -> None:
        if not create(self.spec).keeps_shape:
            raise SpecError(f"{self.spec!r} changes the shape of its input, so it cannot be a layer's activation.")

    @property
    def __name__(self) -> str:
        return self.spec

    def __call__(self, *, inplace: bool = False, **named: Any) -> Activation:
        """A new activation; further arguments are added to those of the spec."""
        return create(self.spec, **named)


def layer(spec: str) -> ActivationLayer:
    """What can be given where a library takes an activation's class: ``activation_layer=layer("asau:beta=2")``.

    >>> make = layer("asau:beta=2")
    >>> make(inplace=True)
    ASAU(a=0.01, b=1, alpha=1, beta=2)
    >>> make() is make()
    False
    """
    return ActivationLayer(spec)


def prefixed_layer(name: Any) -> ActivationLayer | None:
    """The layer of a name that starts with ``limen:`` in any case, else None.

    >>> prefixed_layer("limen:swish"), prefixed_layer("swish")
    (ActivationLayer(spec='swish'), None)
    """
    if not isinstance(name, str) or not name.lower().startswith(PREFIX):
        return None
    # Some libraries write names in capitals; no spec of ours needs them.
    return ActivationLayer(name[len(PREFIX) :].lower())


def import_library(name: str, extra: str) -> ModuleType:
    """Import a module of an optional library, or say what to install."""
    try:
        return import_module(name)
    except Exception as error:  # a library that is installed may still fail, as torchvision beside another torch does
        raise MissingExtraError(
            f"this adapter needs {extra}, which cannot be imported ({error}); install it with: "
            f"pip install 'limen[{extra}]'"
        ) from error
