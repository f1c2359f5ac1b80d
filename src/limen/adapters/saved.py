"""A swapped model of Transformers is saved and loaded as one: its ``config.json`` says which activation is where.

The entry holds specs and paths, which are data: nothing of it is imported or run. Values stand in the weights file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import nn

from limen.activations.base import Activation
from limen.activations.mixture import AdAct
from limen.activations.registry import create
from limen.activations.spec import spec_of
from limen.errors import LimenError, SpecError
from limen.surgery import swap_

ENTRY = "limen_activations"
"""The configuration's attribute: a list of specs, each with the paths of the modules that are so."""

Spec = tuple[str, ...]
"""The spec of an activation, then those of the candidates of a mixture."""


def keep_swaps(model_class: Any) -> Callable[[], None]:
    """Teach the class ``PreTrainedModel`` to write and to heed the entry; gives the way back."""
    save, load = model_class.save_pretrained, vars(model_class)["_load_pretrained_model"]

    def save_pretrained(self: Any, *arguments: Any, **named: Any) -> Any:
        note(self)
        return save(self, *arguments, **named)

    def load_pretrained_model(cls: Any, model: Any, *arguments: Any, **named: Any) -> Any:
        apply(model)
        return load.__get__(None, cls)(model, *arguments, **named)

    model_class.save_pretrained = save_pretrained
    model_class._load_pretrained_model = classmethod(load_pretrained_model)

    def undo() -> None:
        model_class.save_pretrained = save
        model_class._load_pretrained_model = load

    return undo


def note(model: Any) -> None:
    """Write the model's activations into its configuration; those of ``hidden_act`` are there by name already."""
    found: dict[Spec, list[str]] = {}
    for path, activation in _outermost(model):
        spec = _spec_or_warning(path, activation)
        if spec:
            found.setdefault(spec, []).append(path)
    if found:
        entry = [{"activation": spec[0], "candidates": list(spec[1:]), "sites": sites} for spec, sites in found.items()]
        setattr(model.config, ENTRY, entry)
    elif hasattr(model.config, ENTRY):
        delattr(model.config, ENTRY)


def _outermost(model: nn.Module) -> Iterator[tuple[str, Activation]]:
    """Activations that are not part of another."""
    inside: set[str] = set()
    for path, module in model.named_modules():
        if path.rpartition(".")[0] in inside:
            inside.add(path)
        elif isinstance(module, Activation):
            inside.add(path)
            yield path, module


def apply(model: Any) -> None:
    """Swap a model that was just built, before its weights are read, as its configuration says.

    Raises:
        LimenError: for an entry that says something else than specs and paths.
    """
    entry = getattr(model.config, ENTRY, None)
    if entry is None:
        return
    for spec, sites in _checked(entry):
        _made(spec)  # an error in the spec is raised before the paths are looked for
        there = [path for path in (_in(model, site) for site in sites) if path and not _is_there(model, path, spec)]
        if there:
            # A function, not the spec: the context that was saved is meant.
            swap_(model, partial(_made, spec), where=there)


def _spec_or_warning(path: str, activation: Activation) -> Spec:
    try:
        return _spec(activation)
    except SpecError as error:
        warnings.warn(f"the saved model will not have {path}, {type(activation).__name__}: {error}", stacklevel=4)
        return ()


def _spec(activation: Activation) -> Spec:
    candidates = activation.members if isinstance(activation, AdAct) else ()
    return (spec_of(activation), *map(spec_of, candidates))


def _made(spec: Spec) -> Activation:
    return create(spec[0], candidates=[create(one) for one in spec[1:]]) if spec[1:] else create(spec[0])


def _checked(entry: Any) -> list[tuple[Spec, list[str]]]:
    try:
        found = [((one["activation"], *one["candidates"]), list(one["sites"])) for one in entry]
    except (TypeError, LookupError):
        found = []
    if not found or not all(isinstance(text, str) for spec, sites in found for text in (*spec, *sites)):
        raise LimenError(
            f"{ENTRY} in a configuration is a list of 'activation', 'candidates' and 'sites', all of them text, and it "
            f"is {entry!r:.80}."
        )
    return found


def _in(model: Any, path: str) -> str:
    """A path in this model, which may have a head that the saved one had not, or lack one; empty if it is nowhere."""
    prefix = f"{model.base_model_prefix}."
    shorter, longer = path.removeprefix(prefix), f"{prefix}{path}"
    return next((one for one in (path, shorter, longer) if _has(model, one.rpartition(".")[0])), "")


def _has(model: nn.Module, path: str) -> bool:
    return path in dict(model.named_modules())


def _is_there(model: nn.Module, path: str, spec: Spec) -> bool:
    """Whether the configuration's own names put it there."""
    found = dict(model.named_modules()).get(path)
    return isinstance(found, Activation) and _spec(found) == spec
