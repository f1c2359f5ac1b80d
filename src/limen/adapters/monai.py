"""MONAI: ``act="limen:asau"`` in every network that takes ``act``, with options as a spec or as MONAI's pair."""

from __future__ import annotations

from typing import Any

from limen.adapters.specs import prefixed_layer
from limen.errors import require


def register() -> None:
    """Let MONAI's ``Act`` factory take ``limen:`` names, in any case; a second call does nothing.

    Raises:
        MissingExtraError: without MONAI.

    >>> from monai.networks.layers import get_act_layer
    >>> register()
    >>> get_act_layer("limen:asau:beta=2")
    ASAU(a=0.01, b=1, alpha=1, beta=2)
    >>> get_act_layer(("limen:asau", {"beta": 2.0, "num_parameters": 16}))
    ASAU(a=0.01, b=1, alpha=1, beta=2, num_parameters=16)
    >>> unregister()
    """
    factory = _factory()
    original = type(factory).get_constructor

    def get_constructor(name: Any, *arguments: Any) -> Any:
        return prefixed_layer(name) or original(factory, name, *arguments)

    # Set on the one object: other factories (Norm, Pool) share its class.
    factory.get_constructor = get_constructor


def unregister() -> None:
    """Leave MONAI as it was before; networks made meanwhile keep their activations.

    Raises:
        MissingExtraError: without MONAI.

    >>> unregister()
    """
    vars(_factory()).pop("get_constructor", None)


def _factory() -> Any:
    return require("monai.networks.layers", "monai", "this adapter needs monai").Act
