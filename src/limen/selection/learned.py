"""What a harvested site says: its learned values over models, with intervals, and where the models disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from limen.activations.base import Activation
from limen.activations.mixture import AdAct
from limen.activations.registry import create
from limen.errors import SpecError
from limen.selection.choice import Choice, interval_of, mean_of

STILL = 1e-6
"""A value that is no further from where it began has not moved."""


def tensors(activation: Activation) -> dict[str, Tensor]:
    """The values of an activation's parameters by name, whether they are learned or fixed."""
    every = [*activation.named_parameters(), *activation.named_buffers()]
    return {name: value.detach() for name, value in every if value.is_floating_point()}


@dataclass(frozen=True)
class Learned:
    """One parameter of a site over the models, each the mean over its channels; of a mixture a candidate's weight."""

    name: str
    models: tuple[float, ...]
    start: float | None
    """Where it began; None where the activation is not registered here."""

    @property
    def mean(self) -> float:
        """Over the models."""
        return mean_of(self.models)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval over the models (Student's t); None for one model."""
        return interval_of(self.models)

    @property
    def moved(self) -> bool:
        """Whether any model has left the start."""
        return self.start is None or any(abs(value - self.start) > STILL for value in self.models)

    @property
    def disagrees(self) -> bool:
        """Whether the models do not tell in which direction it moves: the start lies within the interval."""
        ends = self.interval
        return ends is not None and self.start is not None and self.moved and ends[0] <= self.start <= ends[1]

    def __str__(self) -> str:
        ends = self.interval
        return f"{self.name} {self.mean:.4g}" + (f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else "")


def learned(choice: Choice) -> list[Learned]:
    """The values of a harvested site.

    >>> import limen
    >>> plan = limen.harvest([torch.nn.Sequential(limen.Swish(beta=beta)) for beta in (1.0, 1.5, 2.0)])
    >>> print(learned(plan.sites[0])[0])
    beta 1.5 (0.2579 to 2.742)
    """
    like = _like(choice)
    began = {name: float(value.double().mean()) for name, value in tensors(like).items()} if like else {}
    found: list[Learned] = []
    for name in choice.learned:
        several = [seed.parameters[f"{choice.winner}.{name}"] for seed in choice.seeds]
        if isinstance(like, AdAct) and name == "logits":
            found += _weights(like.names, several)
        else:
            found.append(Learned(_said(like, name), tuple(map(mean_of, several)), began.get(name)))
    return found


def _like(choice: Choice) -> Activation | None:
    """The activation at its start; None where its class is not registered here."""
    with suppress(SpecError):
        return create(choice.activation)
    return None


def _weights(names: Sequence[str], logits: Sequence[Sequence[float]]) -> Iterator[Learned]:
    shares = [_shares(one, len(names)) for one in logits]
    for place, name in enumerate(names):
        yield Learned(f"weight of {name}", tuple(share[place] for share in shares), 1 / len(names))


def _shares(logits: Sequence[float], count: int) -> list[float]:
    whole = torch.tensor(logits, dtype=torch.float64).reshape(-1, count)
    found: list[float] = whole.softmax(-1).mean(0).tolist()
    return found


def _said(like: Activation | None, name: str) -> str:
    """A parameter's name; of a mixture's candidate with that candidate's."""
    if isinstance(like, AdAct) and name.startswith("candidates."):
        _, place, own = name.split(".", 2)
        return f"{like.names[int(place)]}.{own}"
    return name


def line(choice: Choice) -> str:
    """A site in a line: what moved, with intervals.

    >>> import limen
    >>> print(line(limen.harvest(torch.nn.Sequential(limen.ASAU(), limen.ReLU())).sites[0]))
    0: asau alpha 1, beta 1
    """
    values = [one for one in learned(choice) if one.name in _trained(choice) or one.moved]
    return f"{choice.path}: {choice.winner} {', '.join(map(str, values))}".rstrip()


def _trained(choice: Choice) -> set[str]:
    like = _like(choice)
    return {name for name, _ in like.named_parameters()} if like is not None else set()


def disagreements(choice: Choice) -> list[str]:
    """Where the models do not tell in which direction a value moves, or which candidate weighs most."""
    values = learned(choice)
    apart = [one for one in values if one.disagrees and not one.name.startswith("weight of ")]
    found = [
        f"{choice.path}: the models disagree about {one.name}, which began at {one.start:.4g} and is "
        f"{', '.join(f'{value:.4g}' for value in one.models)}."
        for one in apart
    ]
    shares = {one.name.removeprefix("weight of "): one.models for one in values if one.name.startswith("weight of ")}
    return found + _leads(choice.path, shares)


def _leads(path: str, shares: Mapping[str, Sequence[float]]) -> list[str]:
    if not shares:
        return []
    models = range(len(next(iter(shares.values()))))
    leads = Counter(max(shares, key=lambda name: shares[name][model]) for model in models)
    if len(leads) == 1:
        return []
    said = ", ".join(f"{name} in {count}" for name, count in leads.most_common())
    return [f"{path}: the models disagree about the candidate that weighs most: {said}."]
