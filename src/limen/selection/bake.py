"""Building a plan in: into the trained model with its weights kept, or into a fresh one to train from scratch."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import nn

from limen.activations.base import Activation
from limen.activations.classic import LeakyReLU, RReLU
from limen.activations.mixture import AdAct
from limen.activations.registry import create
from limen.errors import PlanError, suggest
from limen.selection.choice import TWO_LINES, Choice
from limen.selection.choose import select
from limen.selection.plan import Plan
from limen.surgery import Site, SwapReport, swap_

Place = tuple[nn.Module, str, nn.Module]
"""A parent, the name below it, and the module there."""


def bake_(model: nn.Module, plan: Plan | None = None) -> SwapReport:
    """Replace every mixture of a trained model by the candidate that the plan chose, with all weights kept.

    PReLU keeps its learned slope; RReLU becomes the LeakyReLU that evaluation used. Where a candidate had all the
    weight, the model's evaluation does not change by one bit.

    Args:
        plan: by default ``limen.select(model)``.

    Returns:
        The report of what was replaced; its ``undo()`` puts the mixtures back.

    Raises:
        PlanError: if the plan is of another model; nothing is changed then.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.swap_(model, lambda: limen.AdAct(("silu", "relu")))
    >>> print(limen.bake_(model))
    1 replaced, 0 kept, 0 not reached
      1: AdAct(silu=0.5, relu=0.5) -> SiLU()
    """
    plan = plan or select(model)
    made: dict[int, nn.Module] = {}
    planned = []
    for choice in plan.sites:
        place = _place(model, choice.path)
        mixture = place[2]
        if not isinstance(mixture, AdAct):
            raise PlanError(
                f"at {choice.path!r} there is {type(mixture).__name__} and no mixture to bake; use limen.apply_ on a "
                "fresh model."
            )
        # A mixture registered at two places stays one module.
        new = made.setdefault(id(mixture), _baked(mixture, choice))
        planned.append((choice.path, place, new))
    return _replace(planned)


def apply_(model: nn.Module, plan: Plan, *, keep_learned: bool = False) -> SwapReport:
    """Give a fresh model the activations of a plan, at their initial values, to train it from scratch.

    Args:
        keep_learned: start the activations' own parameters (the slope of PReLU) where the search left them, averaged
            over seeds.

    Returns:
        The report of what was replaced, with ``undo()``.

    Raises:
        PlanError: if a site of the plan does not exist in the model; nothing is changed then.

    >>> import limen
    >>> searched = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.swap_(searched, lambda: limen.AdAct(("silu", "relu")))
    >>> fresh = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> print(limen.apply_(fresh, limen.select(searched)))
    1 replaced, 0 kept, 0 not reached
      1: ReLU() -> SiLU()
    """
    made = [create(choice.activation) for choice in plan.sites]
    calls = _reach_calls(model, {choice.path for choice in plan.sites})
    planned = []
    try:
        for choice, new in zip(plan.sites, made, strict=True):
            place = _place(model, choice.path)
            if keep_learned:
                _take_over(new, choice)
            planned.append((choice.path, place, _like(new, place[2], model)))
    except PlanError:
        calls.undo()
        raise
    report = _replace(planned)
    report._undo.insert(0, calls.undo)
    return report


def _reach_calls(model: nn.Module, paths: set[str]) -> SwapReport:
    """Give sites that a fresh model calls as functions a module, as the swap of the searched model did."""
    missing = paths - {path for path, _ in model.named_modules(remove_duplicate=False)}
    return swap_(model, "relu", where=lambda path, *_: path in missing) if missing else SwapReport()


def _place(model: nn.Module, path: str) -> Place:
    """Where the model has the activation of a site."""
    known = dict(model.named_modules(remove_duplicate=False))
    if not path:
        raise PlanError(
            "the model itself is the activation, with no parent to be replaced in; wrap it in nn.Sequential."
        )
    if path not in known:
        leaves = [name for name, module in known.items() if name and not any(module.children())]
        raise PlanError(f"the model has no module at {path!r}. {suggest(path, leaves)}")
    if any(known[path].children()) and not isinstance(known[path], Activation):
        raise PlanError(f"at {path!r} the model has {type(known[path]).__name__}, which is not an activation.")
    parent, _, name = path.rpartition(".")
    return known[parent], name, known[path]


def _replace(planned: list[tuple[str, Place, nn.Module]]) -> SwapReport:
    """Put every module in its place, now that none can fail."""
    report = SwapReport()
    for path, (parent, name, old), new in planned:
        setattr(parent, name, new)
        report._undo.append(partial(setattr, parent, name, old))
        report.sites.append(Site(path, _said(old), _said(new)))
    return report


def _said(module: nn.Module) -> str:
    return f"{type(module).__name__}({module.extra_repr()})"


def _like(new: nn.Module, old: nn.Module, model: nn.Module) -> nn.Module:
    """Give the new module the device, type and mode of the place it takes."""
    tensors = [*old.parameters(), *model.parameters(), *model.buffers()]
    reference = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    if reference is not None and not reference.is_meta:
        new = new.to(device=reference.device, dtype=reference.dtype)
    return new.train(old.training)


def _baked(mixture: AdAct, choice: Choice) -> nn.Module:
    """The candidate's own module, learned values included; what it draws in training is fixed at its mean."""
    if choice.winner == TWO_LINES:
        common = {"num_parameters": mixture.num_parameters, "channel_dim": mixture.channel_dim}
        return _like(create(choice.activation, **common), mixture, mixture)
    if choice.winner not in mixture.names:
        raise PlanError(
            f"the mixture at {choice.path!r} has no candidate {choice.winner!r}. "
            f"{suggest(choice.winner, mixture.names)}"
        )
    member = copy.deepcopy(mixture.members[mixture.names.index(choice.winner)])
    return (_without_noise(member) if isinstance(member, RReLU) else member).train(mixture.training)


def _without_noise(rrelu: RReLU) -> LeakyReLU:
    # The same arithmetic as RReLU's formula at the mean of its noise, so the same bits.
    lower, upper = float(getattr(rrelu, "lower")), float(getattr(rrelu, "upper"))  # noqa: B009  # declared as fields
    slope = lower + (upper - lower) * 0.5
    return LeakyReLU(slope, num_parameters=rrelu.num_parameters, channel_dim=rrelu.channel_dim)


@torch.no_grad()
def _take_over(new: Activation, choice: Choice) -> None:
    for name, values in choice.learned.items():
        parameter = getattr(new, name)
        parameter.copy_(torch.tensor(values, dtype=parameter.dtype).reshape(parameter.shape))
