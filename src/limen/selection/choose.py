"""Choosing: from the weights of trained mixtures to a plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from limen.activations.mixture import AdAct
from limen.activations.spec import spec_of
from limen.errors import PlanError, SpecError
from limen.selection.choice import TWO_LINES, Choice, Observation, two_lines
from limen.selection.families import negative_slope
from limen.selection.plan import HARVESTED, RULES, Plan
from limen.selection.search import places, soft_weights


def select(model: nn.Module | Sequence[nn.Module], *, rule: str = "largest") -> Plan:
    """Choose at every mixture (AdAct) of a trained model the candidate with the largest weight.

    Maiti 2024, §2: "the activation function with the highest AdAct weight in a layer can be chosen as the optimal
    one for that layer". Given several models, trained alike with different seeds, the weights are averaged, and the
    plan says how far the seeds agree and where the margin is no larger than their noise.

    Args:
        model: a model with mixtures, or several of the same build.
        rule: ``largest``: the largest single weight. ``grouped``: candidates that differ in the slope of one line
            only (ReLU, LeakyReLU, PReLU, RReLU) count as one, and where they win, a PReLU starts at the slope that
            they computed together.

    Raises:
        PlanError: if there is no mixture, its weights are not finite, or the models are not of the same build.
        SpecError: for another rule, or a candidate that no spec can build.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.swap_(model, "adact")
    >>> select(model).sites[0].path
    '1'
    """
    _check_rule(rule)
    if isinstance(model, nn.Module):
        found = ((path, _specs(mixture), _observe(mixture)) for path, mixture in _sites(model))
        return Plan(tuple(_choose(path, specs, [seen], rule) for path, specs, seen in found), rule)
    return merge([select(one, rule=rule) for one in model])


def merge(plans: Iterable[Plan], *, rule: str | None = None) -> Plan:
    """One plan from those of several seeds: weights averaged, winners chosen anew.

    Args:
        plans: of networks built alike, at least one.
        rule: ``largest`` or ``grouped``; that of the first plan if not given.

    Raises:
        PlanError: if there is no plan, or the plans are of different sites or candidates.
        SpecError: for another rule.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.swap_(model, "adact")
    >>> merge([select(model), select(model)]).seeds
    2
    """
    plans = list(plans)
    if not plans:
        raise PlanError("there is no plan to merge; give at least one.")
    if any(plan.rule == HARVESTED for plan in plans):
        raise PlanError("harvested plans are not merged; harvest all models together: limen.harvest([first, second]).")
    rule = rule or plans[0].rule
    _check_rule(rule)
    if len({tuple((site.path, tuple(site.specs.items())) for site in plan.sites) for plan in plans}) > 1:
        raise PlanError("the plans are of different sites or candidates; merge plans of networks built alike.")
    by_site = zip(*(plan.sites for plan in plans), strict=True)
    return Plan(
        tuple(_choose(site[0].path, site[0].specs, [o for c in site for o in c.seeds], rule) for site in by_site), rule
    )


def _check_rule(rule: str) -> None:
    if rule not in RULES:
        raise SpecError(f"no rule is called {rule!r}; known: {', '.join(RULES)}.")


def _sites(model: nn.Module) -> list[tuple[str, AdAct]]:
    """Every place of every mixture, so that the plan says of each place of a fresh model what belongs there."""
    if isinstance(model, AdAct):
        return [("", model)]
    found = [(path, mixture) for path, _, _, mixture in places(model)]
    if not found:
        raise PlanError(
            f"{type(model).__name__} has no mixture to select from; swap one in with limen.swap_(model, 'adact') and "
            "train it first."
        )
    return found


def _specs(mixture: AdAct) -> dict[str, str]:
    return dict(zip(mixture.names, map(spec_of, mixture.members), strict=True))


@torch.no_grad()
def _observe(mixture: AdAct) -> Observation:
    weights, logits = _by_candidate(mixture, soft_weights(mixture)), _by_candidate(mixture, mixture.logits)
    if not all(map(math.isfinite, [*weights.values(), *logits.values()])):
        raise PlanError("a mixture's weights are not finite, so nothing can be selected; was the training stable?")
    slopes = {name: negative_slope(member) for name, member in zip(mixture.names, mixture.members, strict=True)}
    return Observation(
        weights,
        logits,
        {name: slope for name, slope in slopes.items() if slope is not None},
        {
            f"{name}.{key}": tuple(value.detach().double().flatten().tolist())
            for name, member in zip(mixture.names, mixture.members, strict=True)
            for key, value in member.named_parameters()
        },
    )


def _by_candidate(mixture: AdAct, values: torch.Tensor) -> dict[str, float]:
    mean = values.detach().double().reshape(-1, len(mixture.names)).mean(0)
    return dict(zip(mixture.names, mean.tolist(), strict=True))


def _choose(path: str, specs: Mapping[str, str], seeds: Sequence[Observation], rule: str) -> Choice:
    """The winner by the rule; among equals the first of the mixture's order."""
    choice = Choice(path, next(iter(specs)), "", tuple(seeds), specs)
    weights, family = choice.weights, choice.slopes
    winner = max(weights, key=lambda name: weights[name])
    if rule == "grouped" and len(family) > 1:
        outside = {name: weight for name, weight in weights.items() if name not in family}
        if math.fsum(weights[name] for name in family) >= max(outside.values(), default=0.0):
            return Choice(path, TWO_LINES, two_lines(choice), tuple(seeds), specs)
        winner = max(outside, key=lambda name: outside[name])
    return Choice(path, winner, specs[winner], tuple(seeds), specs)
