"""A spec in the place of a layer class: what libraries take as ``act_layer=nn.ReLU``."""

from __future__ import annotations

from functools import partial
from typing import Any

from limen.activations.base import Activation
from limen.activations.registry import create
from limen.errors import SpecError

PREFIX = "limen:"
"""What the names of our activations start with in other libraries."""


def layer(spec: str) -> partial[Activation]:
    """What can be given where a library takes an activation's class: ``activation_layer=layer("asau:beta=2")``.

    It makes a new activation at each call. ``inplace``, which many libraries pass to every activation, is taken and has
    no effect; other arguments are added to those of the spec. It is a ``functools.partial``, the only object beside
    classes and functions that timm takes, and can be pickled and copied.

    Raises:
        SpecError: for a spec that names nothing, or an activation that changes the shape of its input.

    >>> make = layer("asau:beta=2")
    >>> make(inplace=True)
    ASAU(a=0.01, b=1, alpha=1, beta=2)
    >>> make() is make()
    False
    """
    if not create(spec).keeps_shape:
        raise SpecError(f"{spec!r} changes the shape of its input, so it cannot be a layer's activation.")
    return partial(_make, spec)


def _make(spec: str, *, inplace: bool = False, **named: Any) -> Activation:
    return create(spec, **named)


def prefixed_layer(name: Any) -> partial[Activation] | None:
    """The layer of a name that starts with ``limen:`` in any case, else None.

    >>> prefixed_layer("LIMEN:swish")(), prefixed_layer("swish")
    (Swish(beta=1), None)
    """
    if not isinstance(name, str) or not name.lower().startswith(PREFIX):
        return None
    # Some libraries write names in capitals; no spec of ours needs them.
    return layer(name[len(PREFIX) :].lower())
