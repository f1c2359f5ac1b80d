"""timm: ``act_layer="limen:asau"`` in every model that takes ``act_layer``."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from limen.adapters.specs import prefixed_layer
from limen.errors import require

_TABLE = "_ACT_LAYER_DEFAULT"
"""timm's table of layer classes, asked last; it has no public way to add to it."""


class _WithLimen(dict[str, Any]):
    """timm's own table, answering for ``limen:`` names too."""

    def __missing__(self, key: str) -> Any:
        made = prefixed_layer(key)
        if made is None:
            raise KeyError(key)
        return made

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or prefixed_layer(key) is not None


def register() -> None:
    """Let timm's look-up of activation layers take ``limen:`` names; a second call does nothing.

    Raises:
        MissingExtraError: without timm.

    >>> register()  # doctest: +SKIP
    >>> timm.create_model("resnet18", act_layer="limen:asau:beta=2")  # doctest: +SKIP
    """
    module = _look_up()
    table = getattr(module, _TABLE)
    if not isinstance(table, _WithLimen):
        setattr(module, _TABLE, _WithLimen(table))


def unregister() -> None:
    """Leave timm as it was before; models made meanwhile keep their activations.

    Raises:
        MissingExtraError: without timm.

    >>> unregister()  # doctest: +SKIP
    """
    module = _look_up()
    table = getattr(module, _TABLE)
    if isinstance(table, _WithLimen):
        setattr(module, _TABLE, dict(table))


def _look_up() -> ModuleType:
    return require("timm.layers.create_act", "timm", "this adapter needs timm")
