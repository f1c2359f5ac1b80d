"""Building a plan in: into the trained model with its weights kept, or into a fresh one to train from scratch."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.classic import LeakyReLU, RReLU
from limen.activations.mixture import AdAct
from limen.activations.registry import create
from limen.errors import PlanError, suggest
from limen.selection.choice import TWO_LINES, Choice
from limen.selection.choose import select
from limen.selection.learned import tensors
from limen.selection.plan import HARVESTED, Plan
from limen.selection.search import places
from limen.surgery import Site, SwapReport, swap_
from limen.surgery.inplace import overwriting, writing_back
from limen.surgery.installing import exchange_items
from limen.surgery.known import SHAPE_CHANGING
from limen.surgery.sites import survey
from limen.surgery.state import settle, take_over
from limen.surgery.swapping import Share

Place = tuple[nn.Module, str, AdAct]
"""A parent, the name below it, and the mixture there."""

Home = tuple[torch.device, torch.dtype]


def bake_(model: nn.Module, plan: Plan | None = None) -> SwapReport:
    """Replace every mixture of a trained model by the candidate that the plan chose, with all weights kept.

    PReLU keeps its learned slope; RReLU becomes the LeakyReLU that evaluation used. Where a candidate had all the
    weight, the model's evaluation does not change by one bit.

    Args:
        model: with mixtures, trained.
        plan: by default ``limen.select(model)``.

    Returns:
        The report of what was replaced; its ``undo()`` puts the mixtures back.

    Raises:
        PlanError: if the plan is of another model, or there is no mixture; nothing is changed then.
        SpecError: without a plan, if a candidate is of a class that is not registered.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.swap_(model, lambda: limen.AdAct(("silu", "relu")))
    >>> print(limen.bake_(model))
    1 replaced, 0 kept, 0 not reached
      1: AdAct(silu=0.5, relu=0.5) -> SiLU()
    """
    plan = plan or select(model)
    if plan.rule == HARVESTED:
        raise PlanError("a harvested plan chose no candidate to bake; build its values in with limen.apply_.")
    made: dict[int, nn.Module] = {}
    for choice in plan.sites:
        mixture = _mixture_at(model, choice.path)
        # A mixture registered at several places stays one module.
        if id(mixture) not in made:
            made[id(mixture)] = _baked(mixture, choice)
    planned = [(path, (owner, name, old)) for path, owner, name, old in places(model) if id(old) in made]
    return _replace(model, planned, made)


def apply_(
    model: nn.Module, plan: Plan, *, keep_learned: bool = False, fixed: bool = False, share: Share = "site"
) -> SwapReport:
    """Give a fresh model the activations of a plan, at their initial values, to train it from scratch.

    Those of a harvested plan (:func:`limen.harvest`) start at the values that were learned, averaged over models.

    Args:
        model: with activations where the searched model had mixtures.
        plan: of a model built alike.
        keep_learned: start the activations' own parameters (the slope of PReLU) where the search left them, averaged
            over seeds; of a harvested plan they always do.
        fixed: build the activations' parameters in as they are, without training them.
        share: as the searched model was swapped; see :func:`limen.swap_`.

    Returns:
        The report of what was replaced, with ``undo()``.

    Raises:
        PlanError: if a site of the plan is no activation of the model.
        LimenError: what :func:`limen.swap_` raises. After any error nothing is changed.

    >>> import limen
    >>> searched = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.swap_(searched, lambda: limen.AdAct(("silu", "relu")))
    >>> fresh = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> print(limen.apply_(fresh, limen.select(searched)))
    1 replaced, 0 kept, 0 not reached
      1: ReLU() -> SiLU()
    """
    keep = keep_learned or plan.rule == HARVESTED
    sites = _sites_of(model, plan, share)
    wanted = {path: _initial(choice, keep).requires_grad_(not fixed) for path, choice in sites.items()}
    taken: dict[str, int] = {}

    def chosen(path: str, old: nn.Module) -> bool:
        if path in wanted:
            taken[path] = id(old)
        return path in wanted

    def next_one() -> nn.Module:
        # swap_ makes the modules in the order in which it chose the sites, one for each tied object.
        path, tie = next(iter(taken.items()))
        for other in [p for p in taken if p == path or (share == "instance" and taken[p] == tie)]:
            del taken[other]
        return wanted[path]

    return swap_(model, next_one, where=chosen, share=share)


def _sites_of(model: nn.Module, plan: Plan, share: Share) -> dict[str, Choice]:
    """The model's own path of every site of the plan."""
    spots = {(id(spot.owner), spot.name): spot for spot in survey(model, split_calls=share == "site").spots}
    known = dict(model.named_modules(remove_duplicate=False))
    found: dict[str, Choice] = {}
    for choice in plan.sites:
        if not choice.path:
            raise PlanError(
                "the model itself is the activation, with no parent to be replaced in; wrap it in nn.Sequential."
            )
        parent, _, name = choice.path.rpartition(".")
        spot = spots.get((id(known.get(parent)), name))
        if spot is None and choice.path in known:
            raise PlanError(
                f"at {choice.path!r} the model has {type(known[choice.path]).__name__}, which is not an activation; "
                "the plan is of another model."
            )
        if spot is None:
            raise PlanError(
                f"the model has no module at {choice.path!r}. {suggest(choice.path, [s.path for s in spots.values()])}"
            )
        if isinstance(spot.like, SHAPE_CHANGING):
            raise PlanError(f"at {choice.path!r} the model has {spot.like}, which changes the shape of its input.")
        found.setdefault(spot.path, choice)
    return found


def _initial(choice: Choice, keep_learned: bool) -> Activation:
    """The chosen activation before training, or with what the search learned."""
    new = create(choice.activation)
    if not new.keeps_shape:
        raise PlanError(
            f"{choice.path}: {choice.activation!r} changes the shape of its input, so it cannot take another "
            "activation's place."
        )
    if keep_learned:
        _take_over(new, choice)
    return new


def _mixture_at(model: nn.Module, path: str) -> AdAct:
    """The mixture that the plan speaks of."""
    known = dict(model.named_modules(remove_duplicate=False))
    if not path:
        raise PlanError(
            "the model itself is the activation, with no parent to be replaced in; wrap it in nn.Sequential."
        )
    if path not in known:
        leaves = [name for name, module in known.items() if name and not any(module.children())]
        raise PlanError(f"the model has no module at {path!r}. {suggest(path, leaves)}")
    found = known[path]
    if not isinstance(found, AdAct):
        raise PlanError(
            f"at {path!r} there is {type(found).__name__} and no mixture to bake; use limen.apply_ on a fresh model."
        )
    return found


def _replace(model: nn.Module, planned: list[tuple[str, Place]], made: dict[int, nn.Module]) -> SwapReport:
    """Put every module in its places, now that none can fail."""
    report = SwapReport()
    for path, (owner, name, old) in planned:
        new = made[id(old)]
        report.sites.append(Site(path, _said(old), _said(new)))
        if owner._modules[name] is old:  # else its owner has several paths, and this is not the first
            take_over(new, old, owner, model, hooks=True)
            report.steps_back.append(partial(_put_back, model, owner, name, old, _home(model, old)))
            owner._modules[name] = new
    # Lists and dictionaries may hold a mixture besides: a swap leaves it there where one held a function.
    for owner in model.modules():
        for old in {id(old): old for _, (_, _, old) in planned}.values():
            exchange_items(owner, old, made[id(old)], report.steps_back)
    return report


def _put_back(model: nn.Module, owner: nn.Module, name: str, old: nn.Module, then: Home | None) -> None:
    """The mixture in its place again, where the model is by now."""
    new = owner._modules[name]
    if new is not None:
        settle(old, new, owner)
        now = _home(model, old)
        if now is not None and now != then and not any(True for _ in new.parameters()):
            old.to(device=now[0], dtype=now[1])
    owner._modules[name] = old


def _home(model: nn.Module, mixture: nn.Module) -> Home | None:
    """Device and type of the first parameter of the model outside a mixture."""
    own = {id(parameter) for parameter in mixture.parameters()}
    others = (p for p in model.parameters() if id(p) not in own and p.is_floating_point() and not p.is_meta)
    found = next(others, None)
    return None if found is None else (found.device, found.dtype)


def _said(module: nn.Module) -> str:
    return f"{type(module).__name__}({module.extra_repr()})"


def _baked(mixture: AdAct, choice: Choice) -> nn.Module:
    """The candidate's own module, learned values included; what it draws in training is fixed at its mean."""
    if choice.winner == TWO_LINES:
        common = {"num_parameters": mixture.num_parameters, "channel_dim": mixture.channel_dim}
        return _overwriting_as(mixture, create(choice.activation, **common))
    if choice.winner not in mixture.names:
        raise PlanError(
            f"the mixture at {choice.path!r} has no candidate {choice.winner!r}. "
            f"{suggest(choice.winner, mixture.names)}"
        )
    member = copy.deepcopy(mixture.members[mixture.names.index(choice.winner)])
    return _overwriting_as(mixture, _without_noise(member) if isinstance(member, RReLU) else member)


def _overwriting_as(mixture: AdAct, new: nn.Module) -> nn.Module:
    """Let the new module overwrite its input if the mixture did, since what stands beside it may read that."""
    return writing_back(new) if getattr(type(mixture), "limen_make", None) is overwriting else new


def _without_noise(rrelu: RReLU) -> LeakyReLU:
    # The same arithmetic as RReLU's formula at the mean of its noise, so the same bits.
    lower, upper = float(getattr(rrelu, "lower")), float(getattr(rrelu, "upper"))  # noqa: B009  # declared as fields
    slope = lower + (upper - lower) * 0.5
    return LeakyReLU(slope, num_parameters=rrelu.num_parameters, channel_dim=rrelu.channel_dim)


@torch.no_grad()
def _take_over(new: Activation, choice: Choice) -> None:
    kept = {name for seed in choice.seeds for name in seed.parameters}
    parameters: dict[str, Tensor] = dict(new.named_parameters())
    # A harvested site holds its fixed values, too.
    parameters |= {name: value for name, value in tensors(new).items() if f"{choice.winner}.{name}" in kept}
    for name, parameter in parameters.items() if choice.winner != TWO_LINES else ():
        values = choice.learned.get(name)
        if values is None or len(values) != parameter.numel():
            had = "none" if values is None else str(len(values))
            raise PlanError(
                f"{choice.path}: {choice.winner!r} must have {parameter.numel()} learned values of {name!r} in the "
                f"plan, and it has {had}; apply the plan without keep_learned."
            )
        parameter.copy_(torch.tensor(values, dtype=parameter.dtype).reshape(parameter.shape))
