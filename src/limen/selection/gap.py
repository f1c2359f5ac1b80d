"""The discretisation gap: what is lost when a mixture is replaced by its winner."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from limen.selection.bake import bake_
from limen.selection.plan import Plan


@dataclass(frozen=True)
class Gap:
    """A measure of the mixture, of the same network baked, and their difference.

    >>> Gap(mixture=0.75, baked=0.5).gap
    0.25
    """

    mixture: float
    baked: float

    @property
    def gap(self) -> float:
        """Mixture minus baked: how much the measure falls by building the choice in."""
        return self.mixture - self.baked


def discretisation_gap(model: nn.Module, evaluate: Callable[[nn.Module], float], plan: Plan | None = None) -> Gap:
    """Evaluate a trained model with its mixtures and a baked copy of it; the model is left as it is.

    A large gap says that the mixture, and not its winner, is what was trained: train the optimised network anew, or
    anneal the temperature so that the weights become one-hot.

    Args:
        model: a trained model with mixtures.
        evaluate: the measure of a model, in any unit; it is called in evaluation mode and without gradients.
        plan: by default ``limen.select(model)``.

    Raises:
        PlanError: if there is no mixture, or the plan is of another model.
        SpecError: without a plan, if a candidate is of a class that is not registered.

    >>> import limen, torch
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> report = limen.swap_(model, "adact")
    >>> discretisation_gap(model, lambda network: float(network(torch.ones(1, 2)).sum())).baked >= 0
    True
    """
    baked = copy.deepcopy(model)
    bake_(baked, plan)
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            return Gap(evaluate(model.eval()), evaluate(baked.eval()))
    finally:
        for module, training in modes:
            module.training = training
