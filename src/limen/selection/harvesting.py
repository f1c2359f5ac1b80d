"""What trained models have learned, kept: the parameters of every activation, averaged over models, as a plan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from limen.activations.base import Activation
from limen.activations.classic import PReLU
from limen.activations.mixture import AdAct
from limen.activations.registry import find, name_of
from limen.activations.spec import spec_of
from limen.errors import PlanError
from limen.naming import parse
from limen.selection.choice import Choice, Observation
from limen.selection.learned import tensors
from limen.selection.plan import HARVESTED, Plan
from limen.selection.search import soft_weights

LEAST_WEIGHT = 1e-30
"""Of a mixture's candidate that was dropped, so that it has a logit."""
Found = dict[str, tuple[str, str, Observation]]
"""By path: the activation's name, its spec, what one model learned."""


def harvest(models: nn.Module | Sequence[nn.Module]) -> Plan:
    """Read the learned parameters of every activation of one trained model, or of several of the same build.

    The plan holds every model's values; what is built in is their mean, per channel where parameters are. Each site
    says with an interval how far the models agree. :func:`limen.apply_` starts a fresh model from them, or fixes them.
    Mixtures (AdAct) are kept whole, their weights and their candidates' own parameters.

    Args:
        models: with activations of limen (or torch's PReLU), trained; several: with different seeds.

    Raises:
        PlanError: if there is no activation, the models do not have the same ones at the same places, or a value is not
            finite.
        SpecError: if an activation is of a class that is not registered.

    >>> import limen
    >>> trained = [nn.Sequential(nn.Linear(2, 2), limen.ASAU(beta=beta)) for beta in (1.0, 3.0)]
    >>> plan = limen.harvest(trained)
    >>> plan.sites[0].learned["beta"]
    (2.0,)
    >>> fresh = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.apply_(fresh, plan, fixed=True)
    >>> fresh[1].beta.data, fresh[1].beta.requires_grad
    (tensor([2.]), False)
    """
    several = [models] if isinstance(models, nn.Module) else list(models)
    if not several:
        raise PlanError("there is no model to harvest; give at least one.")
    found = [_learned(model) for model in several]
    for number, other in enumerate(found[1:], start=1):
        _check_alike(found[0], other, number)
    return Plan(
        tuple(
            Choice(path, name, spec, tuple(one[path][2] for one in found), {name: spec})
            for path, (name, spec, _) in found[0].items()
        ),
        HARVESTED,
    )


def _learned(model: nn.Module) -> Found:
    found = {path: _observe(path, activation) for path, activation in _activations(model)}
    if not found:
        raise PlanError(
            f"{type(model).__name__} has no activation of limen to harvest; swap one in with "
            "limen.swap_(model, 'asau') and train it first."
        )
    return found


def _activations(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, Activation]]:
    """Every place of an activation; what lies inside one belongs to it."""
    own = _as_ours(model)
    if own is not None:
        yield prefix.removesuffix("."), own
        return
    for name, child in model._modules.items():
        if child is not None:
            yield from _activations(child, f"{prefix}{name}.")


def _as_ours(module: nn.Module) -> Activation | None:
    """The module, if it is an activation that can stand in another's place; torch's PReLU as ours."""
    if isinstance(module, nn.PReLU):
        ours = PReLU(num_parameters=module.num_parameters)
        ours.weight.data.copy_(module.weight.data)
        return ours
    return module if isinstance(module, Activation) and module.keeps_shape else None


@torch.no_grad()
def _observe(path: str, activation: Activation) -> tuple[str, str, Observation]:
    name = name_of(activation)
    values = {f"{name}.{key}": tuple(of.double().flatten().tolist()) for key, of in tensors(activation).items()}
    if isinstance(activation, AdAct) and activation.weighting is not None:
        # What steered the search (temperature, dropped candidates) is not kept, so the logits say what it came to.
        weights = soft_weights(activation).double().clamp(min=LEAST_WEIGHT)
        values[f"{name}.logits"] = tuple(weights.log().flatten().tolist())
    for key, of in values.items():
        if not all(map(math.isfinite, of)):
            raise PlanError(f"at {path!r} {key} is not finite, so it cannot be harvested; was the training stable?")
    return name, spec_of(activation), Observation({name: 1.0}, {name: 0.0}, {}, values)


def _check_alike(first: Found, other: Found, number: int) -> None:
    """Raise where a model has not the first one's activations at the same places.

    Raises:
        PlanError: naming the place.
    """
    for path in {**first, **other}:
        if path not in first or path not in other:
            has, lacks = (0, number) if path in first else (number, 0)
            raise PlanError(
                f"the models are not of the same build: model {has} has {(first if has == 0 else other)[path][1]} at "
                f"{path!r}, and model {lacks} has no activation there."
            )
        mine, theirs = first[path], other[path]
        if _build(mine) != _build(theirs):
            raise PlanError(
                f"the models are not of the same build: at {path!r} model 0 has {mine[1]}, and model {number} has "
                f"{theirs[1]}."
            )


def _build(found: tuple[str, str, Observation]) -> tuple[str, dict[str, object], dict[str, int]]:
    """What must be the same in every model: the activation, its arguments but for initial values, its sizes."""
    name, spec, seen = found
    arguments = {key: value for key, value in parse(spec)[1].items() if key not in find(name).params}
    return name, arguments, {key: len(values) for key, values in seen.parameters.items()}
