"""The networks of a selection: the baseline, the mixture, and for each seed the network that its mixture chose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from limen.activations.mixture import AdAct
from limen.errors import StudyError
from limen.lab.data import Samples
from limen.lab.executing.work import Job
from limen.lab.metric import GAP
from limen.lab.records import EpochRow, Origin, RunRecord, failed_run
from limen.lab.report.condensing import bare
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings
from limen.lab.study.listener import Listener
from limen.lab.study.result import searched_plan
from limen.lab.study.running import keep_costs
from limen.lab.study.store import StudyFolder
from limen.lab.training import cost, notes
from limen.lab.training import run as training
from limen.lab.training.batches import Batches
from limen.lab.training.experiment import Experiment
from limen.lab.training.followers import DropHopeless, Follower, LearnOnHeldout, MixtureSchedule, Trajectories
from limen.lab.training.task import Task
from limen.selection import Plan, apply_, bake_, geometric, linear, mixtures, sample_, select
from limen.surgery import SwapReport, swap_


@dataclass(frozen=True)
class Selection:
    """An experiment with the settings of its search."""

    experiment: Experiment
    settings: SelectSettings

    def run(self, job: Job, listener: Callable[[EpochRow], None]) -> RunRecord:
        """One network of one seed; the optimised one is built by the search that its job names."""
        if job.activation == SEARCHED:
            return self._search(job.seed, listener)
        if job.activation == OPTIMIZED:
            return self._optimized(job.needed, job.seed, listener)
        extra = notes.extra(self.experiment)
        return training.run(self.experiment, job.activation, job.seed, listener, extra=extra)

    def measure_cost(self, folder: StudyFolder, listener: Listener, origin: Origin) -> None:
        """Time the three networks, unless it was done; the optimised one as all seeds together chose it."""
        plan = searched_plan(folder.read_runs(self.settings, bare))
        if plan is None or set(self.settings.activations) <= {row.activation for row in folder.read_costs()}:
            return
        furnish: dict[str, training.Furnish] = {SEARCHED: self._mix, OPTIMIZED: partial(_apply, plan)}
        keep_costs(folder, lambda: cost.measure(self.experiment, listener.timing, furnish), origin)

    def _search(self, seed: int, listener: Callable[[EpochRow], None]) -> RunRecord:
        """Train with mixtures; the record holds how the weights went, the plan, and the discretisation gap."""
        experiment, weights_from = self._divided()
        extra = _Searching(self.settings, seed, weights_from, experiment.task)
        run = training.run(experiment, SEARCHED, seed, listener, furnish=self._mix, extra=extra)
        measure = experiment.task.measure
        compared = (measure.on_test, f"baked_{measure.on_test}")
        if not run.metrics.keys() >= {*compared}:
            return run
        trained, baked = (measure.goodness(run.metrics[name]) for name in compared)
        gap = trained - baked  # above 0 wherever baking made it worse
        return run.model_copy(update={"metrics": {**run.metrics, GAP: gap}})

    @property
    def _mix(self) -> training.Furnish:
        return partial(_mix, self.settings)

    def _divided(self) -> tuple[Experiment, Samples | None]:
        """The experiment of the network's weights, and what the mixtures' weights learn from if not from the same."""
        part, train = self.settings.weights_from, self.experiment.data.train
        if part is None:
            return self.experiment, None
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.settings.split_seed))
        count = round(part * len(order))
        if not 0 < count < len(order):
            raise StudyError(f"--weights-from {part} of {len(order)} training examples leaves none for one side.")
        kept, taken = order[count:].sort().values, order[:count].sort().values
        return self.experiment.training_on(train.take(kept)), train.take(taken)

    def _optimized(self, search: RunRecord | None, seed: int, listener: Callable[[EpochRow], None]) -> RunRecord:
        """Train from scratch the network that this seed's search chose."""
        if search is None or search.plan is None:
            why = search.failure if search else "it is missing"
            return failed_run(OPTIMIZED, seed, f"the search of this seed failed, so there is no plan: {why}")
        plan = Plan.from_dict(search.plan)
        run = training.run(
            self.experiment,
            OPTIMIZED,
            seed,
            listener,
            furnish=partial(_apply, plan),
            extra=notes.extra(self.experiment),
        )
        return run.model_copy(update={"plan": search.plan})


class _Searching(training.Extra):
    """How a search is steered as far as that was asked for, and what it comes to."""

    def __init__(self, settings: SelectSettings, seed: int, weights_from: Samples | None, task: Task) -> None:
        self.settings, self.seed, self.weights_from, self.task = settings, seed, weights_from, task
        self.trajectories, self.noted = Trajectories(), notes.Notes(settings.observe)

    def followers(self, network: nn.Module) -> Sequence[Follower]:
        """The weights' way first, then what steers them."""
        return [self.trajectories, *self._optional(network), *self.noted.followers(network)]

    def conclude(
        self, experiment: Experiment, network: nn.Module, measure: Callable[[nn.Module], dict[str, float]]
    ) -> dict[str, Any]:
        """The plan, and what the network is without its mixtures."""
        plan = select(network, rule=self.settings.rule)
        baked = copy.deepcopy(network)
        bake_(baked, plan)
        experiment.task.settle(baked, experiment.data, experiment.settings)
        found, tested = self.noted.conclude(experiment, network, measure), measure(baked)
        # Without its mixtures a network may give no finite number, of which then there is nothing to note.
        usable = {} if experiment.task.refused(tested) else tested
        metrics = {**found["metrics"], **{f"baked_{name}": value for name, value in usable.items()}}
        return {**found, "plan": plan.as_dict(), "weights": tuple(self.trajectories.rows), "metrics": metrics}

    def _optional(self, network: nn.Module) -> list[Follower]:
        """What goes beyond the paper, as far as it was asked for."""
        settings, weights_from = self.settings, self.weights_from
        found: list[Follower] = []
        temperature = geometric(*settings.temperature) if settings.temperature else None
        entropy = linear(*settings.entropy) if any(settings.entropy) else None
        if temperature or entropy:
            # What learns from held-out examples has its entropy in that loss.
            found.append(MixtureSchedule(temperature, entropy if weights_from is None else None))
        if weights_from is not None:
            rate = settings.activation_lr or settings.learning_rate
            parts = self.task.objectives(network)
            for part, loss in (one for one in parts if mixtures(one[0])):
                batches = Batches(weights_from, settings.batch_size, seed=self.seed, device=settings.device)
                found.append(LearnOnHeldout(part, batches, loss, rate, entropy=entropy))
        if settings.drop_below is not None:
            found.append(DropHopeless(settings.drop_below))
        return found


def _mix(settings: SelectSettings, network: nn.Module) -> SwapReport:
    report = swap_(network, partial(AdAct, settings.candidates))
    if settings.sampling != "none":
        sample_(network, settings.sampling)
    return report


def _apply(plan: Plan, network: nn.Module) -> SwapReport:
    return apply_(network, plan)
