"""What a run may note beside its scores: gradients by depth while it trains, and what its activations receive then."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from limen.inspect import Watch, statistics, watch
from limen.inspect.watching import Step, depth_ratio
from limen.lab.data import evenly
from limen.lab.metric import GRADIENT_DEPTH_RATIO, NORMALITY, PERCENTILE_AGREEMENT
from limen.lab.numerals import stored, stored_fields
from limen.lab.records import GradientRow, SiteRow
from limen.lab.training.batches import Batches
from limen.lab.training.experiment import Experiment
from limen.lab.training.followers import Follower
from limen.lab.training.run import Extra

OBSERVED = 500
"""Held-out examples whose way through the network is described."""


class Gradients(Follower):
    """Notes the norm of the loss's gradient at every site: its geometric mean over the steps of each epoch."""

    def __init__(self, network: nn.Module) -> None:
        self.seen: Watch = watch(network)
        self.rows: list[GradientRow] = []
        self._noted = 0

    def begin(self, network: nn.Module) -> None:
        """Begin to watch."""
        self.seen.__enter__()

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """The means of this epoch."""
        for path, values in self.seen.gradients().items():
            mean = geometric_mean(values[self._noted :])
            self.rows.append(GradientRow(epoch=epoch, path=path, gradient=stored(mean)))
        self._noted = len(next(iter(self.seen.gradients().values())))

    def end(self) -> None:
        """Stop watching."""
        self.seen.__exit__(None, None, None)

    def state_dict(self) -> dict[str, Any]:
        """What was noted, and every step's norms, of which the last number is made."""
        return {"rows": [row.model_dump() for row in self.rows], "steps": [vars(step) for step in self.seen.steps]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Note further."""
        self.rows = [GradientRow(**row) for row in state["rows"]]
        self.seen.steps = [Step(**step) for step in state["steps"]]
        self._noted = len(self.seen.steps) // len(self.seen.sites)

    def metrics(self) -> dict[str, float]:
        """How much of the gradient at the last site arrives at the first: the geometric mean over all steps."""
        by_site = list(self.seen.gradients().values())
        ratios = [depth_ratio(values) for values in zip(*by_site, strict=True)]
        return {GRADIENT_DEPTH_RATIO.on_test: geometric_mean(ratios)}


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of values above 0 as factors; others are left out.

    >>> geometric_mean([1.0, 100.0, math.nan])
    10.0
    """
    logs = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
    return 10 ** (math.fsum(logs) / len(logs)) if logs else math.nan


class Notes(Extra):
    """What a run notes beside its scores, by the study's setting ``observe``."""

    def __init__(self, observe: Sequence[str]) -> None:
        self.observe = observe
        self._current: list[Gradients] = []

    def followers(self, network: nn.Module) -> Sequence[Follower]:
        """What watches the gradients."""
        self._current = [Gradients(network)] if "gradients" in self.observe else []
        return self._current

    def conclude(
        self, experiment: Experiment, network: nn.Module, test: Callable[[nn.Module], dict[str, float]]
    ) -> dict[str, Any]:
        """What was seen of gradients and inputs."""
        found: dict[str, Any] = {"metrics": {}}
        for gradients in self._current:
            found["gradients"] = tuple(gradients.rows)
            found["metrics"] |= gradients.metrics()
        if "inputs" in self.observe:
            found["sites"] = sites = site_rows(network, experiment)
            found["metrics"] |= input_metrics(sites)
        return found


def extra(experiment: Experiment) -> Extra:
    """What the runs of a study note beside their scores."""
    return Notes(experiment.settings.observe)


def site_rows(network: nn.Module, experiment: Experiment) -> tuple[SiteRow, ...]:
    """What each site receives from held-out examples."""
    some = evenly(experiment.heldout, OBSERVED)
    inputs, _ = next(iter(Batches(some, OBSERVED, device=experiment.settings.device)))
    kept = set(SiteRow.model_fields)
    with torch.no_grad():
        described = [site.as_dict() for site in statistics(network, inputs)]
    return tuple(
        SiteRow(**stored_fields((key, value) for key, value in one.items() if key in kept)) for one in described
    )


def input_metrics(sites: Sequence[SiteRow]) -> dict[str, float]:
    """How normal the inputs of the least normal site are, and how near ASH keeps to its percentile where least near."""
    distances = [site.normal_distance for site in sites if math.isfinite(site.normal_distance)]
    gaps = [abs(site.kept - site.percentile) / 100 for site in sites if math.isfinite(site.kept)]
    found = {NORMALITY.on_test: 1 - max(distances)} if distances else {}
    return {**found, **({PERCENTILE_AGREEMENT.on_test: 1 - max(gaps)} if gaps else {})}
