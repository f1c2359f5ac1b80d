"""The activation sites of a model, and what passes through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.mixture import AdAct
from limen.errors import SampleError
from limen.surgery.known import ACTIVATIONS
from limen.warmstart import call


def sites(model: nn.Module, kinds: Any = ACTIVATIONS) -> list[tuple[str, nn.Module]]:
    """Every activation of a model with its path, limen's and torch's; a mixture counts as one, a shared object once.

    >>> sites(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    [('1', ReLU())]
    """
    seen: set[int] = set()
    return list(_found(model, kinds, "", seen))


def _found(model: nn.Module, kinds: Any, path: str, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    if id(model) in seen:
        return
    seen.add(id(model))
    if isinstance(model, kinds):
        yield path or type(model).__name__, model
        return
    for name, child in model.named_children():
        yield from _found(child, kinds, f"{path}.{name}" if path else name, seen)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, each module given back its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def passing(model: nn.Module, batch: Any) -> list[tuple[str, nn.Module, list[tuple[Tensor, Tensor]]]]:
    """Run a batch and give, for every site that was called, the input and output of each call.

    Args:
        model: any model; it is run in evaluation mode and left as it was.
        batch: a tensor, a tuple or list that begins with one, or keyword arguments of the model.

    Raises:
        SampleError: if no site is called.
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    known = sites(model)

    def note(path: str) -> Any:
        def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            # A copy, because an activation in place overwrites its input.
            found.setdefault(path, []).append((inputs[0].detach().clone(), inputs[0]))

        def after(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            found[path][-1] = (found[path][-1][0], output.detach())

        return before, after

    handles = []
    for path, site in known:
        before, after = note(path)
        handles += [site.register_forward_pre_hook(before), site.register_forward_hook(after)]
    try:
        with evaluating(model):
            call(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        names = ", ".join(path for path, _ in known)
        raise SampleError(
            f"the batch reached no activation module ({f'of {names}' if names else 'the model has none'}); functions "
            "such as F.relu become modules with limen.swap_(model, 'relu')."
        )
    return [(path, site, found[path]) for path, site in known if path in found]


def learned_parameters(site: nn.Module) -> dict[str, Tensor]:
    """What a site has learned: its parameters by name, a mixture's weights by candidate before its candidates' own."""
    if not isinstance(site, Activation):
        return {name: value.detach() for name, value in site.named_parameters()}
    learned = {id(parameter) for parameter in site.parameters() if parameter.requires_grad}
    mixture = isinstance(site, AdAct)
    return {
        name: value.detach()
        for name, value in site.parameter_values().items()
        if mixture or id(value) in learned or value.requires_grad
    }
