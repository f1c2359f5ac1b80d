"""What an activation costs in training: time of a step relative to torch's ReLU, and peak memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import nn

from limen.lab.records import TORCHS_RELU, CostRow
from limen.lab.training import run as running
from limen.lab.training.batches import Batches
from limen.lab.training.experiment import Experiment
from limen.lab.training.optimisers import optimiser_of
from limen.surgery import SwapReport, swap_

ROUNDS = 20
WARM_UP = 3
_TIMED_AGAINST = "the reference"


def measure(
    experiment: Experiment,
    listener: Callable[[int, int], None] = lambda done, total: None,
    furnish: Mapping[str, running.Furnish] | None = None,
) -> tuple[CostRow, ...]:
    """Time a training step of each activation, interleaved: every round times each of them once, in turn.

    The ratio of two steps of one round is hardly touched by what else the machine is doing, so the rounds' ratios
    and not the times are compared. The reference is the network with ``torch.nn.ReLU`` at the same places; a second
    one is timed as the activations are, so its row, the first, says how well times can be told apart. ``furnish`` gives
    a network its activations where that is more than a swap.
    """
    settings = experiment.settings
    built = {name: running.build(experiment, _torch_relu, seed=0)[0] for name in (_TIMED_AGAINST, TORCHS_RELU)}
    for activation in settings.activations:
        how = (furnish or {}).get(activation, settings.spec(activation))
        built[activation], _ = running.build(experiment, how, seed=0)
    steps = {name: _step(network, experiment) for name, network in built.items()}
    times = {name: np.empty(ROUNDS) for name in steps}
    for done in range(-WARM_UP, ROUNDS):
        for name in _rotated(list(steps), done):
            seconds = _timed(steps[name], settings.device)
            if done >= 0:
                times[name][done] = seconds
        listener(done + WARM_UP + 1, ROUNDS + WARM_UP)
    return tuple(
        _row(name, times[name], times[_TIMED_AGAINST], built[name], experiment)
        for name in built
        if name != _TIMED_AGAINST
    )


def _torch_relu(network: nn.Module) -> SwapReport:
    return swap_(network, lambda: nn.ReLU())


def _step(network: nn.Module, experiment: Experiment) -> Callable[[], None]:
    task, data, settings = experiment.task, experiment.data, experiment.settings
    network.to(settings.device).train()
    task.begin(network, data, settings)
    inputs, targets = next(iter(Batches(data.train, settings.batch_size, seed=0, device=settings.device)))
    optimiser = optimiser_of(network, settings)

    def step() -> None:
        optimiser.zero_grad()
        torch.autograd.backward(task.objective(network, inputs, targets))
        optimiser.step()

    return step


def _timed(step: Callable[[], None], device: str) -> float:
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    if on_gpu:
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _rotated(names: list[str], by: int) -> Iterable[str]:
    """A different first in every round, so that none always follows the same neighbour's cache."""
    start = by % len(names)
    return names[start:] + names[:start]


def _row(name: str, times: np.ndarray, reference: np.ndarray, network: nn.Module, experiment: Experiment) -> CostRow:
    low, middle, high = np.quantile(times / reference, [0.25, 0.5, 0.75])
    return CostRow(
        activation=name,
        ms_per_step=1000 * float(np.median(times)),
        ratio=float(middle),
        ratio_low=float(low),
        ratio_high=float(high),
        peak_memory_mb=running.step_memory(network, experiment) / 1e6,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )
