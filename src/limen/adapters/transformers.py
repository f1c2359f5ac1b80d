"""Hugging Face Transformers: ``hidden_act="limen:asau"`` in any configuration whose model looks it up in ``ACT2FN``."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import nn

from limen.activations.base import Activation
from limen.activations.registry import find, names
from limen.adapters.saved import keep_swaps
from limen.adapters.specs import PREFIX, layer, prefixed_layer
from limen.adapters.trainer import exempt_activations
from limen.errors import require

_undo: list[Callable[[], None]] = []


def register(*specs: str) -> None:
    """Make ``limen:`` names known to Transformers; a second call adds only ``specs``.

    ``ACT2FN``, the look-up of nearly all models, then takes every spec. The few models that look into the plain
    dictionary ``ACT2CLS`` know the names registered now, and those ``specs`` with options that are given here.

    Weights that a checkpoint lacks are started by Transformers, which knows its own layers only; it is taught to start
    ours too, so that ``from_pretrained(name, hidden_act="limen:asau")`` begins at the declared values.

    ``save_pretrained`` writes into ``config.json`` which of limen's activations is where, as specs, and
    ``from_pretrained`` puts them there before it reads the weights: a model changed by :func:`limen.swap_` comes back
    as it was. ``Trainer`` leaves the parameters of activations out of weight decay.

    Raises:
        MissingExtraError: without Transformers.
        SpecError: for one of ``specs`` that names nothing, or changes the shape of its input.

    >>> import transformers
    >>> register()
    >>> transformers.activations.ACT2FN["limen:asau:beta=2"]
    ASAU(a=0.01, b=1, alpha=1, beta=2)
    >>> unregister()
    """
    activations = _library("transformers.activations")
    if not _undo:
        _undo.append(_open_look_up(activations.ACT2FN))
        models = _library("transformers").PreTrainedModel
        _undo.append(_start_activations(models))
        _undo.append(keep_swaps(models))
        _undo.append(exempt_activations(_library("transformers.trainer").Trainer))
    keeping_shape = [name for name in names() if find(name).keeps_shape]
    for spec in (*keeping_shape, *specs):
        _add(activations.ACT2CLS, PREFIX + spec, layer(spec))


def unregister() -> None:
    """Leave Transformers as it was before; models made meanwhile keep their activations.

    >>> unregister()
    """
    while _undo:
        _undo.pop()()


def _library(module: str) -> ModuleType:
    return require(module, "transformers", "this adapter needs transformers")


def _open_look_up(look_up: Any) -> Callable[[], None]:
    """Let one dictionary answer for names that it does not hold; models hold the object itself, so it stays."""
    original = type(look_up)

    class WithLimen(original):  # type: ignore[misc, valid-type]
        def __getitem__(self, key: Any) -> nn.Module:
            make = prefixed_layer(key)
            made: nn.Module = super().__getitem__(key) if make is None else make()
            return made

        def __contains__(self, key: Any) -> bool:
            return super().__contains__(key) or prefixed_layer(key) is not None

    look_up.__class__ = WithLimen

    def undo() -> None:
        look_up.__class__ = original

    return undo


def _start_activations(model_class: Any) -> Callable[[], None]:
    original = model_class._initialize_weights

    def initialize_weights(self: Any, module: nn.Module, *arguments: Any, **named: Any) -> Any:
        if isinstance(module, Activation) and not _is_loaded(module):
            _reset_unless_loaded(module)
        return original(self, module, *arguments, **named)

    model_class._initialize_weights = initialize_weights

    def undo() -> None:
        model_class._initialize_weights = original

    return undo


def _is_loaded(owner: Any) -> bool:
    """Transformers marks so what came from a checkpoint."""
    return bool(getattr(owner, "_is_hf_initialized", False))


def _reset_unless_loaded(module: Activation) -> None:
    loaded = [t for t in (*module.parameters(), *module.buffers()) if _is_loaded(t)]
    values = [tensor.detach().clone() for tensor in loaded]
    module.reset_parameters()
    for tensor, value in zip(loaded, values, strict=True):
        tensor.data.copy_(value)


def _add(dictionary: dict[str, Any], key: str, value: Any) -> None:
    if key not in dictionary:
        dictionary[key] = value
        _undo.append(lambda: dictionary.__delitem__(key))
