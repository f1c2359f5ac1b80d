"""Switch off torch's fused Transformer kernels, which compute ReLU or GELU themselves and ask no activation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

_LAYERS = (nn.TransformerEncoderLayer,)


def switch_off(model: nn.Module, changed: set[int], undo: list[Callable[[], None]]) -> None:
    """For each Transformer layer whose activation was replaced, given by ``id``."""
    for layer in model.modules():
        if isinstance(layer, _LAYERS) and id(layer) in changed:
            _set(layer, "activation_relu_or_gelu", 0, undo)
        if isinstance(layer, nn.TransformerEncoder) and any(id(inner) in changed for inner in layer.modules()):
            # Nested tensors are understood by the fused kernels only.
            _set(layer, "use_nested_tensor", False, undo)


def _set(module: Any, name: str, value: Any, undo: list[Callable[[], None]]) -> None:
    if name in vars(module):
        undo.append(partial(setattr, module, name, vars(module)[name]))
        setattr(module, name, value)
