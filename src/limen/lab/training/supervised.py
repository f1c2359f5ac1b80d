"""A network that learns from its task's loss, by one optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limen.lab.data import Data
from limen.lab.settings import StudySettings
from limen.lab.training.average import Average
from limen.lab.training.engine import Engine
from limen.lab.training.learner import Learner, Mean, Taught, as_measured
from limen.lab.training.meter import Meter
from limen.lab.training.optimisers import optimiser_of
from limen.lab.training.task import Task


class WithLoss(nn.Module):
    """A network with its task's loss: what is computed of a batch, as one module."""

    def __init__(self, network: nn.Module, task: Task, smoothing: float) -> None:
        super().__init__()
        self.network, self.task, self.smoothing = network, task, smoothing

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and outputs; labels are smooth only while it learns."""
        network = self.network
        outputs = _whole(network(inputs))
        if self.smoothing and network.training:
            return self.task.smooth_loss(outputs, targets, self.smoothing), outputs
        return self.task.loss(outputs, targets), outputs


def _whole(outputs: Tensor) -> Tensor:
    """In single precision, whatever mixed precision has made of it: sums over a batch want more than eight bits."""
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


class Supervised(Learner):
    """A network with its task's loss and metrics, and an optimiser."""

    divisible: ClassVar[bool] = True

    def __init__(self, network: nn.Module, task: Task, data: Data[Any], settings: StudySettings) -> None:
        self.task, self.data, self.settings = task, data, settings
        super().__init__(network)
        self.clip = settings.clip
        self.average = None if settings.ema is None else Average(network, settings.ema)
        self.module: nn.Module = WithLoss(network, task, settings.label_smoothing)
        self.optimisers = self.make_optimisers()
        self.training_meter: Meter = task.train_meter(data).to(settings.device)
        self.meters = {name: meter.to(settings.device) for name, meter in task.meters(data).items()}

    def make_optimisers(self) -> list[torch.optim.Optimizer]:
        """The one that the settings name."""
        return [optimiser_of(self.network, self.settings)]

    def use(self, engine: Engine) -> None:
        """Compute by this engine from now on, with new optimisers."""
        self.engine = engine
        self.module, self.optimisers = engine.prepare(self.module, self.make_optimisers)

    def begin(self) -> None:
        """Nothing is drawn."""

    def random_state(self) -> object:
        """It has none of its own."""
        return None

    def continue_from(self, random_state: object) -> None:
        """There is none to go on with."""

    def measures(self, network: nn.Module) -> None:
        """As it is, on the device it is on."""
        self.network, self.module = network, WithLoss(network, self.task, self.settings.label_smoothing)

    def compile(self) -> None:
        """Network and loss as one."""
        self.module.compile()

    def settle(self) -> None:
        """What the task has to tell it."""
        self.task.settle(self.network, self.data, self.settings)

    def step(self, batch: tuple[Tensor, Tensor], index: int) -> Taught:
        """Down the loss of a batch."""
        inputs, targets = batch
        with self.engine.precision():
            loss, outputs = self.module(inputs, targets)
        self.descend(self.optimisers[0], loss)
        return Taught(loss, len(targets), (outputs, targets))

    @torch.no_grad()
    def score(self, answer: Tensor, truth: Tensor) -> None:
        """By the task's meter for training."""
        self.training_meter.update(*self.task.answer(answer.detach(), truth, self.data))

    def train_score(self) -> float:
        """Of the batches of an epoch."""
        self.training_meter.pool()
        found = float(self.training_meter.compute())
        self.training_meter.reset()
        return found

    def evaluate(self, split: str, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Loss and the task's metrics."""
        losses = Mean()
        for meter in self.meters.values():
            meter.reset()
        with as_measured(self.network), self.engine.precision():
            if split == "val":
                self.settle()
            for batch in batches:
                self.measure(batch, losses)
            found = {f"{split}_{name}": float(meter.compute()) for name, meter in self.meters.items()}
            if split != "val":
                found |= {f"{split}_{name}": value for name, value in self.by_class().items()}
        return found | ({f"{split}_loss": losses.value()} if losses.count else {})

    def by_class(self) -> dict[str, float]:
        """What of :attr:`meters` is noted of every class."""
        classes = self.data.classes
        return {
            metric.of_class(name).name: value
            for metric in self.task.by_class
            if metric.name in self.meters and (values := self.meters[metric.name].of_each())
            for name, value in zip(classes, values, strict=True)
        }

    def measure(self, batch: tuple[Tensor, Tensor], losses: Mean) -> None:
        """Take a batch into the loss and into :attr:`meters`."""
        inputs, targets = batch
        loss, outputs = self.module(inputs, targets)
        losses.add(loss, len(targets))
        self.take_in(outputs, targets)

    def take_in(self, outputs: Tensor, targets: Tensor) -> None:
        """Into :attr:`meters`."""
        answered = self.task.answer(outputs, targets, self.data)
        for meter in self.meters.values():
            meter.update(*answered)


class ByObjective(Supervised):
    """Minimises the task's objective, which needs the network and not its outputs; there is no training score."""

    divisible: ClassVar[bool] = False

    def step(self, batch: tuple[Tensor, Tensor], index: int) -> Taught:
        """Down the objective of a batch."""
        inputs, targets = batch
        with self.engine.precision():
            loss = self.task.objective(self.network, inputs, targets)
        self.descend(self.optimisers[0], loss)
        return Taught(loss, len(inputs), None)

    def compile(self) -> None:
        """The network."""
        self.network.compile()

    def train_score(self) -> float:
        """None."""
        return math.nan
