"""The choice at one site: what every seed's network learned there, who won, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from limen.errors import PlanError
from limen.selection.checks import Fields

TWO_LINES = "two lines"
"""The winner's name where the candidates that differ in one slope won together."""

_T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip
"""Student's t, 97.5 %, for 1 to 30 degrees of freedom; SciPy belongs to the lab."""


@dataclass(frozen=True)
class Observation:
    """One seed's mixture at one site, by candidate; per-channel mixtures are averaged over channels.

    >>> Observation({"relu": 0.6, "silu": 0.4}, {"relu": 0.4, "silu": 0.0}, {"relu": 0.0}, {}).winner
    'relu'
    """

    weights: Mapping[str, float]
    """The softmax weights."""
    logits: Mapping[str, float]
    """The raw weights."""
    slopes: Mapping[str, float]
    """Candidates that are two lines through 0 and differ in the negative side's slope only, with that slope."""
    parameters: Mapping[str, tuple[float, ...]]
    """The candidates' own learned parameters as ``candidate.parameter``; one value, or one a channel."""

    @property
    def winner(self) -> str:
        """The candidate with the largest weight."""
        return max(self.weights, key=lambda name: self.weights[name])

    def as_dict(self) -> dict[str, Any]:
        """The stored form, plain data.

        >>> seed = Observation({"prelu": 1.0}, {"prelu": 0.0}, {"prelu": 0.3}, {"prelu.weight": (0.3,)})
        >>> seed.as_dict()["parameters"]
        {'prelu.weight': [0.3]}
        """
        return {**asdict(self), "parameters": {name: list(values) for name, values in self.parameters.items()}}

    @classmethod
    def from_dict(cls, value: Any, where: str) -> Observation:
        """Read the stored form, every field checked.

        Raises:
            PlanError: naming ``where`` and the field that is missing, unknown or out of range.

        >>> seed = Observation({"prelu": 1.0}, {"prelu": 0.0}, {"prelu": 0.3}, {"prelu.weight": (0.3,)})
        >>> Observation.from_dict(seed.as_dict(), "mine") == seed
        True
        """
        fields = Fields(value, where)
        found = cls(
            fields.numbers("weights"),
            fields.numbers("logits"),
            fields.numbers("slopes"),
            fields.number_lists("parameters"),
        )
        fields.nothing_else()
        if not found.weights or set(found.logits) != set(found.weights) or not set(found.slopes) <= set(found.weights):
            raise PlanError(f"{where}: weights, logits and slopes must be of the same candidates.")
        if not all(0 <= share <= 1 for share in found.weights.values()):
            raise PlanError(f"{where}: weights lie between 0 and 1.")
        return found


@dataclass(frozen=True)
class Choice:
    """What was chosen at one site, by how much, and how far the seeds agree.

    >>> seed = Observation({"relu": 0.6, "silu": 0.4}, {"relu": 0.4, "silu": 0.0}, {"relu": 0.0}, {})
    >>> print(Choice("1", "relu", "relu", (seed,), {"relu": "relu", "silu": "silu"}))
    1: relu 0.60, then silu (margin +0.2000, entropy 0.97, one seed)
    """

    path: str
    """The module's path in the model, such as ``features.0.activation``."""
    winner: str
    """The candidate chosen, by its name in the mixture; ``two lines`` for a group under the rule ``grouped``."""
    activation: str
    """The spec that builds it."""
    seeds: tuple[Observation, ...]
    """What each seed's network learned."""
    specs: Mapping[str, str]
    """The spec of every candidate, in the mixture's order."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every candidate of the mixture."""
        return tuple(self.specs)

    @property
    def weights(self) -> dict[str, float]:
        """Each candidate's weight, averaged over seeds."""
        return {name: mean_of([seed.weights[name] for seed in self.seeds]) for name in self.candidates}

    @property
    def slopes(self) -> dict[str, float]:
        """The negative slope of each two-line candidate, averaged over seeds."""
        family = [name for name in self.candidates if all(name in seed.slopes for seed in self.seeds)]
        return {name: mean_of([seed.slopes[name] for seed in self.seeds]) for name in family}

    @property
    def joint_slope(self) -> float:
        """The one slope that the two-line candidates compute together; NaN where they have no weight."""
        weights = self.weights
        together = math.fsum(weights[name] for name in self.slopes)
        return math.fsum(weights[n] * s for n, s in self.slopes.items()) / together if together else math.nan

    @property
    def learned(self) -> dict[str, tuple[float, ...]]:
        """The winner's own learned parameters, averaged over seeds."""
        prefix = f"{self.winner}."
        names = [name for name in self.seeds[0].parameters if name.startswith(prefix)]
        return {name.removeprefix(prefix): _mean_lists([s.parameters[name] for s in self.seeds]) for name in names}

    @property
    def winners(self) -> tuple[str, ...]:
        """The candidate with the largest weight, for each seed."""
        return tuple(seed.winner for seed in self.seeds)

    @property
    def group(self) -> tuple[str, ...]:
        """The candidates that the winner stands for: itself, or all two-line candidates."""
        return tuple(self.slopes) if self.winner == TWO_LINES else (self.winner,)

    @property
    def share(self) -> float:
        """The winner's weight."""
        weights = self.weights
        return math.fsum(weights[name] for name in self.group)

    @property
    def runner_up(self) -> str:
        """The candidate with the largest weight among the others; empty if there is none."""
        weights = self.weights
        others = [name for name in self.candidates if name not in self.group]
        return max(others, key=lambda name: weights[name], default="")

    @property
    def margins(self) -> tuple[float, ...]:
        """The winner's weight minus the runner-up's, for each seed."""
        second = self.runner_up
        return tuple(
            math.fsum(seed.weights[name] for name in self.group) - (seed.weights[second] if second else 0.0)
            for seed in self.seeds
        )

    @property
    def margin(self) -> float:
        """The mean margin."""
        return mean_of(self.margins)

    @property
    def margin_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval over seeds (Student's t); None for one seed."""
        return interval_of(self.margins)

    @property
    def entropy(self) -> float:
        """Entropy of the mean weights as a fraction of its maximum: 0 is one candidate alone, 1 is all equal."""
        if len(self.candidates) < 2:
            return 0.0
        shares = [share for share in self.weights.values() if share > 0]
        return abs(math.fsum(share * math.log(share) for share in shares)) / math.log(len(self.candidates))

    @property
    def agreement(self) -> float:
        """The share of seeds in which the winner has the largest weight."""
        return sum(name in self.group for name in self.winners) / len(self.seeds)

    @property
    def verdict(self) -> str:
        """``clear``, ``noise`` (the margin's interval reaches 0 or below), or ``one seed`` (nothing to judge by)."""
        interval = self.margin_interval
        if interval is None:
            return "one seed"
        return "clear" if interval[0] > 0 else "noise"

    def warnings(self) -> list[str]:
        """What must be known before believing this choice, in sentences.

        >>> import limen
        >>> limen.select(limen.AdAct(("silu", "mish"))).sites[0].warnings()
        []
        """
        found = []
        interval = self.margin_interval
        if interval is not None and self.verdict == "noise":
            found.append(
                f"{self.path}: {self.winner} is ahead of {self.runner_up} by {self.margin:+.4f}, and seeds differ by "
                f"as much (95 % interval {interval[0]:+.4f} to {interval[1]:+.4f}): the order is noise."
            )
        return found + self._slope_warnings()

    def _slope_warnings(self) -> list[str]:
        weights = self.weights
        family = [name for name in self.slopes if weights[name] > 0]
        together = math.fsum(weights[name] for name in family)
        if len(family) < 2 or self.winner == TWO_LINES:
            return []
        written = ", ".join(f"{name} {self.slopes[name]:.3g}" for name in family)
        if self.winner in family:
            others = ", ".join(name for name in family if name != self.winner)
            return [
                f"{self.path}: {self.winner} differs from {others} in the negative slope only ({written}); together "
                f"they weigh {together:.2f} and act as one slope of {self.joint_slope:.3g}."
            ]
        if together > weights[self.winner]:
            return [
                f"{self.path}: {self.winner} has the largest single weight ({weights[self.winner]:.2f}), but "
                f"candidates that differ in slope only ({written}) weigh {together:.2f} together; the rule "
                "'grouped' counts them as one."
            ]
        return []

    def __str__(self) -> str:
        second = f", then {self.runner_up}" if self.runner_up else ""
        count = len(self.seeds)
        agreed = "" if count == 1 else f"{round(self.agreement * count)} of {count} agree, "
        name = self.activation if self.winner == TWO_LINES else self.winner
        return (
            f"{self.path}: {name} {self.share:.2f}{second} "
            f"(margin {self.margin:+.4f}, entropy {self.entropy:.2f}, {agreed}{self.verdict})"
        )

    def as_dict(self) -> dict[str, Any]:
        """The stored form; what is worked out from the seeds stands beside it for readers.

        >>> import limen
        >>> limen.select(limen.AdAct(("silu", "mish"))).sites[0].as_dict()["winner"]
        'silu'
        """
        interval = self.margin_interval
        derived = {
            "verdict": self.verdict,
            "weights": self.weights,
            "runner_up": self.runner_up,
            "margin": self.margin,
            "margin_interval": list(interval) if interval else None,
            "entropy": self.entropy,
            "agreement": self.agreement,
            "winners": list(self.winners),
            "slopes": self.slopes,
            "learned": {name: list(values) for name, values in self.learned.items()},
        }
        assert derived.keys() == DERIVED
        stored = {"candidates": dict(self.specs), "seeds": [seed.as_dict() for seed in self.seeds]}
        return {"path": self.path, "winner": self.winner, "activation": self.activation, **derived, **stored}

    @classmethod
    def from_dict(cls, value: Any, where: str) -> Choice:
        """Read the stored form, every field checked.

        Raises:
            PlanError: naming ``where`` and the field that is missing, unknown or out of range, or that does not agree
                with the others.

        >>> import limen
        >>> choice = limen.select(limen.AdAct(("silu", "mish"))).sites[0]
        >>> Choice.from_dict(choice.as_dict(), "mine") == choice
        True
        """
        fields = Fields(value, where, ignored=DERIVED)
        specs = fields.texts("candidates")
        seeds = tuple(Observation.from_dict(seed, f"{where}, seed {n}") for n, seed in enumerate(fields.items("seeds")))
        choice = cls(fields.text("path"), fields.text("winner"), fields.text("activation"), seeds, specs)
        fields.nothing_else()
        if not seeds or any(set(seed.weights) != set(specs) for seed in seeds):
            raise PlanError(f"{where}: there must be seeds, each with a weight for {', '.join(specs) or 'candidates'}.")
        if choice.winner not in specs and not (choice.winner == TWO_LINES and choice.slopes):
            raise PlanError(f"{where}: the winner {choice.winner!r} is not among {', '.join(specs)}.")
        _check_parameters(seeds, where)
        return replace(choice, activation=_activation(choice, where))


def two_lines(choice: Choice) -> str:
    """The spec of what the two-line candidates compute together."""
    return f"prelu:weight={choice.joint_slope:.9g}"


def _activation(choice: Choice, where: str) -> str:
    """The spec of the winner, which a person may have changed without it.

    Raises:
        PlanError: if it was the spec that was changed, and not the winner.
    """
    together = two_lines(choice) if choice.slopes else ""
    if choice.winner == TWO_LINES and math.isnan(choice.joint_slope):
        raise PlanError(f"{where}: {TWO_LINES!r} cannot win, since no candidate that is two lines has any weight.")
    wanted = together if choice.winner == TWO_LINES else choice.specs[choice.winner]
    heaviest = max(choice.weights, key=lambda name: choice.weights[name])
    winner_changed = choice.winner != heaviest or choice.activation == together
    if choice.activation == wanted or (winner_changed and choice.activation in (*choice.specs.values(), together)):
        return wanted
    raise PlanError(
        f"{where}: the activation {choice.activation!r} is not that of the winner {choice.winner!r}, {wanted!r}; "
        "change the winner, and its activation follows."
    )


def _check_parameters(seeds: Sequence[Observation], where: str) -> None:
    for number, seed in enumerate(seeds):
        for name in {*seed.parameters, *seeds[0].parameters}:
            found, first = seed.parameters.get(name), seeds[0].parameters.get(name)
            if found is None or first is None or len(found) != len(first):
                raise PlanError(
                    f"{where}: the parameter {name!r} must have as many values in every seed, and it has "
                    f"{_how_many(first)} in seed 0 and {_how_many(found)} in seed {number}."
                )


def _how_many(values: Sequence[float] | None) -> str:
    return "none" if values is None else str(len(values))


DERIVED = frozenset(
    {"verdict", "weights", "runner_up", "margin", "margin_interval", "entropy", "agreement", "winners", "slopes"}
    | {"learned"}
)
"""Fields of the stored form that are worked out anew when it is read."""


def mean_of(values: Sequence[float]) -> float:
    """The mean, summed exactly."""
    return math.fsum(values) / len(values)


def _mean_lists(lists: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(mean_of(values) for values in zip(*lists, strict=True))


def interval_of(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean over seeds (Student's t); None for one."""
    count = len(values)
    if count < 2:
        return None
    mean = mean_of(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    reach = (_T_975[count - 2] if count - 2 < len(_T_975) else 1.96) * deviation / math.sqrt(count)
    return mean - reach, mean + reach
