"""A selection from settings to report: for every seed the baseline, the search by mixtures, the optimised network.

Each seed repeats the whole algorithm with its own search, so that the intervals cover the luck of the search, too. The
plan of all seeds together is ``plan.json``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from torch import nn

from limen.activations.mixture import AdAct
from limen.activations.registry import create, find, parse
from limen.activations.spec import spec_of
from limen.errors import SpecError, StudyError
from limen.lab import cost, study, tasks, train
from limen.lab.batches import Batches
from limen.lab.callbacks import DropHopeless, LearnOnHeldout, MixtureSchedule, Trajectories
from limen.lab.data import Samples, TaskData
from limen.lab.records import EpochRow, RunRecord
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings
from limen.lab.store import StudyFolder
from limen.lab.study import Listener, Result
from limen.selection import Plan, apply_, bake_, geometric, linear, sample_
from limen.selection import select as select_plan
from limen.surgery import SwapReport, swap_


def select(
    settings: SelectSettings, out: Path, listener: Listener, *, command: str = "", recipe: str = "", quick: bool = False
) -> Result:
    """Run or continue the selection that ``settings`` describe in the folder ``out``."""
    check(settings)
    data = study.prepare(settings)
    unreached = study.probe(settings, data)
    folder = StudyFolder(out)
    with folder.lock():
        opened = folder.open(settings, data.facts(), study.environment(settings), command, recipe=recipe, quick=quick)
        study.train_missing(settings, opened, folder, listener, unreached, partial(_run, settings, data, folder))
        _measure_cost(settings, data, folder, listener)
        return study.conclude(folder, opened)


def check(settings: SelectSettings) -> None:
    """Raise for anything in the settings that does not exist, before any data is read."""
    for candidate in settings.candidates:
        spec_of(create(candidate))
    AdAct(settings.candidates)
    if settings.baseline in (SEARCHED, OPTIMIZED):
        raise SpecError(f"the baseline of a selection is a fixed activation such as relu, not {settings.baseline!r}.")
    create(settings.baseline)
    if not find(parse(settings.baseline)[0]).keeps_shape:
        raise SpecError(f"{settings.baseline!r} changes the shape of its input, so it cannot be swapped in.")
    study.check_task(settings)
    study.check_device(settings.device)


def _run(
    settings: SelectSettings,
    data: TaskData,
    folder: StudyFolder,
    name: str,
    seed: int,
    listener: Callable[[EpochRow], None],
) -> RunRecord:
    """One network of one seed."""
    if name == SEARCHED:
        return _search(settings, data, seed, listener)
    if name == OPTIMIZED:
        return _optimized(settings, data, folder.read_run(SEARCHED, seed), seed, listener)
    return train.run(settings, data, name, seed, listener)


def _search(settings: SelectSettings, data: TaskData, seed: int, listener: Callable[[EpochRow], None]) -> RunRecord:
    """Train the network with mixtures; the record holds how the weights went, the plan, and the discretisation gap."""
    data, weights_data = _divided(settings, data)
    trajectories = Trajectories()

    def callbacks(network: nn.Module) -> Sequence[L.Callback]:
        return [trajectories, *_optional(settings, weights_data, network, seed)]

    def conclude(network: nn.Module, measure: Callable[[nn.Module], dict[str, float]]) -> dict[str, Any]:
        plan = select_plan(network, rule=settings.rule)
        baked = copy.deepcopy(network)
        bake_(baked, plan)
        measured = {f"baked_{name}": value for name, value in measure(baked).items()}
        return {"plan": plan.as_dict(), "weights": tuple(trajectories.rows), "metrics": measured}

    extra = train.Extra(callbacks, conclude)
    run = train.run(settings, data, SEARCHED, seed, listener, furnish=partial(_mix, settings), extra=extra)
    if run.status == "failed":
        return run
    measure = tasks.find(settings.task).measure.on_test
    gap = run.metrics[measure] - run.metrics[f"baked_{measure}"]
    return run.model_copy(update={"metrics": {**run.metrics, "discretisation_gap": gap}})


def _mix(settings: SelectSettings, network: nn.Module) -> SwapReport:
    report = swap_(network, lambda: AdAct(settings.candidates))
    if settings.sampling != "none":
        sample_(network, settings.sampling)
    return report


def _divided(settings: SelectSettings, data: TaskData) -> tuple[TaskData, TaskData | None]:
    """The data of the network's weights, and that of the mixtures' weights if they learn on their own."""
    if settings.weights_from is None:
        return data, None
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(settings.split_seed))
    count = round(settings.weights_from * len(order))
    if not 0 < count < len(order):
        raise StudyError(
            f"--weights-from {settings.weights_from} of {len(order)} training examples leaves none for one side."
        )
    kept, taken = order[count:].sort().values, order[:count].sort().values
    return _with_train(data, data.train.take(kept)), _with_train(data, data.train.take(taken))


def _with_train(data: TaskData, train: Samples) -> TaskData:
    return dataclasses.replace(cast("Any", data), train=train)


def _optional(
    settings: SelectSettings, weights_data: TaskData | None, network: nn.Module, seed: int
) -> list[L.Callback]:
    """What goes beyond the paper, as far as it was asked for."""
    found: list[L.Callback] = []
    if settings.temperature or any(settings.entropy):
        temperature = geometric(*settings.temperature) if settings.temperature else None
        found.append(MixtureSchedule(temperature, linear(*settings.entropy) if any(settings.entropy) else None))
    if weights_data is not None:
        objective = tasks.find(settings.task).objective
        batches = Batches(weights_data.train, settings.batch_size, seed=seed, device=settings.device)
        rate = settings.activation_lr or settings.learning_rate
        found.append(LearnOnHeldout(network, batches, lambda b: objective(network, *b), rate))
    if settings.drop_below is not None:
        found.append(DropHopeless(settings.drop_below))
    return found


def _optimized(
    settings: SelectSettings,
    data: TaskData,
    search: RunRecord | None,
    seed: int,
    listener: Callable[[EpochRow], None],
) -> RunRecord:
    """Train from scratch the network that this seed's search chose."""
    if search is None or search.plan is None:
        why = search.failure if search else "it is missing"
        return RunRecord(
            activation=OPTIMIZED,
            seed=seed,
            status="failed",
            failure=f"the search of this seed failed, so there is no plan: {why}",
            epochs=0,
            seconds=0.0,
            ms_per_step=float("nan"),
            peak_memory_mb=float("nan"),
            parameters=0,
            activation_parameters=0,
        )
    plan = Plan.from_dict(search.plan)
    run = train.run(settings, data, OPTIMIZED, seed, listener, furnish=partial(_apply, plan))
    return run.model_copy(update={"plan": search.plan})


def _apply(plan: Plan, network: nn.Module) -> SwapReport:
    return apply_(network, plan)


def _measure_cost(settings: SelectSettings, data: TaskData, folder: StudyFolder, listener: Listener) -> None:
    """Time the three networks, unless it was done; the optimised one as all seeds together chose it."""
    plan = study.searched_plan(folder.read_runs(settings))
    if plan is None or set(settings.activations) <= {row.activation for row in folder.read_costs()}:
        return
    furnish = {SEARCHED: partial(_mix, settings), OPTIMIZED: partial(_apply, plan)}
    folder.write_costs(cost.measure(settings, data, listener.timing, furnish))
