"""One run: one activation, one seed, trained and tested."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from limen.errors import StudyError
from limen.lab.data import evenly
from limen.lab.metric import LOSS, Metric
from limen.lab.records import EpochRow, RunRecord
from limen.lab.training import processes, together
from limen.lab.training.batches import Batches
from limen.lab.training.checkpoint import Checkpoints
from limen.lab.training.devices import engine_of, require_divisible
from limen.lab.training.experiment import Experiment
from limen.lab.training.followers import Follower
from limen.lab.training.learner import Learner
from limen.lab.training.loggers import telling
from limen.lab.training.loop import Loop
from limen.lab.training.memory import peak_memory
from limen.lab.training.shapes import layer_shapes
from limen.lab.training.supervised import Supervised
from limen.lab.training.trial import outputs_of
from limen.surgery import SwapReport, swap_
from limen.training import activation_parameters

OTHER_PROCESS = 1_000_003
"""From one process's seed to the next one's: what is drawn for one part of a batch is not drawn for another."""
Furnish = Callable[[nn.Module], SwapReport]
"""Gives a network its activations."""


class Extra:
    """What a study adds to an ordinary run; here nothing. Other processes can be sent it before a run."""

    def followers(self, network: nn.Module) -> Sequence[Follower]:
        """Made for the network before its optimiser is."""
        return ()

    def conclude(
        self, experiment: Experiment, network: nn.Module, measure: Callable[[nn.Module], dict[str, float]]
    ) -> dict[str, Any]:
        """From the tested network and a function that tests another: further fields of the record."""
        return {}


NOTHING = Extra()


def bare(experiment: Experiment, seed: int) -> nn.Module:
    """The network as it was built, with its own activations."""
    settings = experiment.settings
    network = experiment.task.build(settings.network, experiment.data, seed)
    if any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers())):
        _give_sizes(network, experiment, seed)
    if settings.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # feature maps follow the weights
    return network


def _give_sizes(network: nn.Module, experiment: Experiment, seed: int) -> None:
    """Call a network whose layers learn their sizes from their first input, such as ``nn.LazyLinear``."""
    inputs, _ = next(iter(Batches(evenly(experiment.data.train, 2), 2, device="cpu")))
    training = network.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        outputs_of(network, inputs, experiment)
    network.train(training)


def build(experiment: Experiment, activation: str | Furnish, seed: int) -> tuple[nn.Module, SwapReport]:
    """The network with its activations swapped.

    For one seed every activation starts from the same weights: the network is built first, and the swap draws
    nothing from the random generator.
    """
    network = bare(experiment, seed)
    report = swap_(network, activation) if isinstance(activation, str) else activation(network)
    if not report.sites:
        raise StudyError(
            f"the network {experiment.settings.network!r} has no activation to replace"
            + (f", and cannot be given one ({report.unreached[0]}); make it a module" if report.unreached else "")
            + "."
        )
    return network, report


def prepared(
    experiment: Experiment,
    activation: str,
    seed: int,
    listener: Callable[[EpochRow], None] = lambda row: None,
    *,
    furnish: Furnish | None = None,
    extra: Extra = NOTHING,
) -> Loop:
    """The training of a run, before its first step; the random numbers begin anew."""
    task, data, settings = experiment.task, experiment.data, experiment.settings
    network, _ = build(experiment, furnish or settings.spec(activation), seed)
    task.begin(network.to(settings.device), data, settings)
    followers = extra.followers(network)  # after what a network drops before it is trained
    learner = task.learner(network, data, settings) or Supervised(network, task, data, settings)
    require_divisible(settings, learner)
    engine = engine_of(settings)
    if engine is not None:
        learner.use(engine)
    if settings.compile:
        learner.compile()
    loop = Loop(learner, experiment, seed, followers, listener)
    if settings.protocol == "both":
        loop.test_score = lambda: score_on_test(network, experiment)
    torch.manual_seed(seed + processes.rank() * OTHER_PROCESS)
    return loop


def run(
    experiment: Experiment,
    activation: str,
    seed: int,
    listener: Callable[[EpochRow], None] = lambda row: None,
    *,
    furnish: Furnish | None = None,
    extra: Extra = NOTHING,
) -> RunRecord:
    """Train and test; a loss that is not finite gives a record with status ``failed``.

    ``activation`` names the run; ``furnish`` gives the network its activations where that is more than a swap. Several
    devices are several processes, each of which does this; they are made here where this is not one of them.
    """
    if experiment.settings.devices > 1 and not together.joined():
        return together.run(_of_one_process, experiment, listener, (activation, seed, furnish, extra))
    return _of_one_process(experiment, listener, activation, seed, furnish, extra)


def _of_one_process(
    experiment: Experiment,
    listener: Callable[[EpochRow], None],
    activation: str,
    seed: int,
    furnish: Furnish | None,
    extra: Extra,
) -> RunRecord:
    start = time.perf_counter()
    task, data, settings = experiment.task, experiment.data, experiment.settings
    loop = prepared(experiment, activation, seed, listener, furnish=furnish, extra=extra)
    checkpoints = Checkpoints(experiment, activation, seed)
    with telling(experiment, activation, seed) as told:
        loop.told = told
        failure = loop.run(checkpoints)
    learner, network = loop.learner, _whole(loop, experiment, furnish or settings.spec(activation), seed)
    common = {"activation": activation, "seed": seed, **_trained(loop, network)}

    def ended(**what: Any) -> RunRecord:
        checkpoints.remove()
        return RunRecord(seconds=loop.before + time.perf_counter() - start, **common, **what)

    if failure:
        return ended(status="failed", failure=failure, peak_memory_mb=float("nan"))
    network.load_state_dict(loop.best.state)
    metrics = _test(learner, experiment)
    if settings.protocol == "both":
        metrics |= _best_test_epoch(loop.rows, task.measure)
    further = extra.conclude(experiment, network, lambda other: _test_other(learner, other, experiment))
    metrics |= further.pop("metrics", {})
    metrics |= {task.metric(name).of_reference: value for name, value in task.reference_metrics(data).items()}
    if refused := task.refused(metrics):
        why = f"tested with the weights of epoch {loop.best.epoch}, {refused}."
        return ended(status="failed", failure=why, peak_memory_mb=float("nan"))
    return ended(
        status="finished",
        best_epoch=loop.best.epoch,
        metrics=metrics,
        layers=layer_shapes(network, _observed(experiment)),
        shown=task.show(network, data, settings),
        peak_memory_mb=step_memory(network, experiment) / 1e6,
        **further,
    )


def attempt(
    experiment: Experiment, activation: str, seed: int, listener: Callable[[EpochRow], None] = lambda row: None
) -> RunRecord:
    """Train as :func:`run` does and note the held-out score alone: a trial of tuning, which no test example takes part
    in.
    """
    if experiment.settings.devices > 1 and not together.joined():
        return together.run(_attempt_of_one_process, experiment, listener, (activation, seed))
    return _attempt_of_one_process(experiment, listener, activation, seed)


def _attempt_of_one_process(
    experiment: Experiment, listener: Callable[[EpochRow], None], activation: str, seed: int
) -> RunRecord:
    start = time.perf_counter()
    loop = prepared(experiment, activation, seed, listener)
    checkpoints = Checkpoints(experiment, activation, seed)
    failure = loop.run(checkpoints)
    checkpoints.remove()
    best = None if failure else loop.rows[loop.best.epoch - 1]
    return RunRecord(
        activation=activation,
        seed=seed,
        status="failed" if failure else "finished",
        failure=failure,
        best_epoch=best.epoch if best else 0,
        metrics={experiment.task.measure.on_heldout: best.heldout_score, LOSS.on_heldout: best.heldout_loss}
        if best
        else {},
        seconds=loop.before + time.perf_counter() - start,
        peak_memory_mb=float("nan"),
        **_trained(loop, loop.network),
    )


def _trained(loop: Loop, network: nn.Module) -> dict[str, Any]:
    """What is noted of any training, however it ended."""
    return {
        "epochs": len(loop.rows),
        "ms_per_step": loop.median_ms(),
        "curves": tuple(loop.rows),
        "parameters": sum(p.numel() for p in network.parameters()),
        "activation_parameters": sum(p.numel() for p in activation_parameters(network)),
    }


def _whole(loop: Loop, experiment: Experiment, activation: str | Furnish, seed: int) -> nn.Module:
    """The trained network on one device, from now on measured as it is."""
    network = loop.network
    if loop.learner.engine.sharded:
        network = build(experiment, activation, seed)[0].to(experiment.settings.device)
    loop.learner.measures(network)
    return network


def step_memory(network: nn.Module, experiment: Experiment) -> int:
    """Peak bytes of a training step without the optimiser; gradients are left at zero."""
    task, settings = experiment.task, experiment.settings
    first = Batches(evenly(experiment.data.train, settings.batch_size), settings.batch_size, device=settings.device)
    inputs, targets = next(iter(first))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    network.zero_grad(set_to_none=True)
    peak = peak_memory(lambda: torch.autograd.backward(task.objective(network, inputs, targets)), settings.device)
    network.zero_grad(set_to_none=True)
    network.load_state_dict(state)  # batch normalisation has counted the step
    return peak


def _test(learner: Learner, experiment: Experiment) -> dict[str, float]:
    """Measures on the held-out examples and, read once, on the test examples."""
    found: dict[str, float] = {}
    if not experiment.settings.test_chooses:
        found |= learner.evaluate("val", experiment.evaluated(experiment.heldout))
    task, data, settings = experiment.task, experiment.data, experiment.settings
    for split, samples in {"test": data.tested, "transfer": data.transfer}.items():
        if samples is not None:
            found |= learner.evaluate(split, experiment.evaluated(samples))
            examined = task.examine(learner.network, samples, data, settings)
            found |= {f"{split}_{name}": value for name, value in examined.items()}
    return dict(sorted(found.items()))


def _test_other(learner: Learner, other: nn.Module, experiment: Experiment) -> dict[str, float]:
    """Test another network in the place of the trained one."""
    network = learner.network
    learner.measures(other.to(experiment.settings.device))
    try:
        return _test(learner, experiment)
    finally:
        learner.measures(network)


@torch.no_grad()
def score_on_test(network: nn.Module, experiment: Experiment) -> float:
    """The task's measure on the test examples, beside the training."""
    task, data = experiment.task, experiment.data
    metric = task.meters(data)[task.measure.name].to(experiment.settings.device)
    training = network.training
    network.eval()
    for inputs, targets in experiment.evaluated(data.tested):
        metric.update(*task.answer(network(inputs), targets, data))
    network.train(training)
    return float(metric.compute())


def _best_test_epoch(rows: Sequence[EpochRow], measure: Metric) -> dict[str, float]:
    """What the paper would have reported: the best test score of any epoch, and the first epoch with it."""
    scores = [row.test_score for row in rows if row.test_score is not None]
    best = max(scores, key=measure.goodness)
    return {measure.best_on_test: best, "best_test_epoch": float(1 + scores.index(best))}


def _observed(experiment: Experiment) -> torch.Tensor:
    count = experiment.task.observed
    inputs, _ = next(iter(Batches(evenly(experiment.heldout, count), count, device=experiment.settings.device)))
    return inputs
