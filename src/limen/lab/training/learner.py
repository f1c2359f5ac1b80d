"""How a network learns from batches, and how it is measured; whatever device or devices it does it on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LRScheduler

from limen.lab.settings import StudySettings
from limen.lab.training import processes
from limen.lab.training.average import Average
from limen.lab.training.engine import Engine
from limen.lab.training.schedules import scheduler_of, steps_of


class NonFiniteLossError(Exception):
    """The loss became NaN or infinite, so the run has failed."""

    def __init__(self, value: float) -> None:
        super().__init__(f"the loss became {value}")


class Taught(NamedTuple):
    """What came of one batch."""

    loss: Tensor
    examples: int
    """So many that the loss is the mean of."""
    answered: tuple[Tensor, Tensor] | None
    """What is scored of a training batch, and its truth."""


class Learner(ABC):
    """A network, the optimisers of its parameters, what a training step is, and what is measured of its answers."""

    by_batch: ClassVar[bool] = False
    """Whether progress counts batches, because a batch is more than one step."""
    optimisers: list[torch.optim.Optimizer]
    divisible: ClassVar[bool] = False
    """Whether several processes can share a batch, and several batches a step."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.engine = Engine()
        self.before_step: Callable[[], None] = lambda: None
        """Called between the gradients and the optimiser."""
        self.share, self.first, self.last = 1.0, True, True
        """Of an optimiser's step: this batch's part, and whether it is its first, and its last."""
        self.clip: float | None = None
        """The largest norm of the gradients of an optimiser's parameters together."""
        self.schedulers: dict[torch.optim.Optimizer, LRScheduler] = {}
        """What moves the rates of an optimiser, where they move."""
        self.average: Average | None = None
        """What is measured in the place of the network's own weights."""

    @abstractmethod
    def use(self, engine: Engine) -> None:
        """Compute by this engine from now on, with new optimisers."""

    @abstractmethod
    def compile(self) -> None:
        """Have torch.compile translate what a step computes."""

    @abstractmethod
    def make_optimisers(self) -> list[torch.optim.Optimizer]:
        """The optimisers of all parameters that learn."""

    @abstractmethod
    def begin(self) -> None:
        """Draw what is drawn once a run; the seed has been set."""

    @abstractmethod
    def random_state(self) -> object:
        """What its own random numbers go on from; None where it has none."""

    @abstractmethod
    def continue_from(self, random_state: object) -> None:
        """Undo :meth:`random_state`."""

    @abstractmethod
    def settle(self) -> None:
        """Give the network what it must know before it is measured."""

    @abstractmethod
    def step(self, batch: tuple[Tensor, Tensor], index: int) -> Taught:
        """Learn from the batch with this index."""

    @abstractmethod
    def score(self, answer: Tensor, truth: Tensor) -> None:
        """Take a training batch into the training score."""

    @abstractmethod
    def train_score(self) -> float:
        """The training score since the last call, of all processes; NaN where there is none."""

    @abstractmethod
    def evaluate(self, split: str, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Loss and measures of a split, by the names they are stored under; the network is left in its mode."""

    @abstractmethod
    def measures(self, network: nn.Module) -> None:
        """Measure another network from now on, which learns nothing."""

    def descend(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step down the loss, which ends the run where it is not finite."""
        value = loss.item()
        if self.engine.failed(value):
            raise NonFiniteLossError(value)
        if self.first:
            optimiser.zero_grad()
        self.engine.backward(loss if self.share == 1 else loss * self.share)
        if self.last:
            self.engine.unscale(optimiser)
            self.before_step()
            if self.clip is not None:
                clip_grad_norm_(_learning(self.network, optimiser), self.clip)
            optimiser.step()
            if self.schedulers:
                self.schedulers[optimiser].step()

    def plan(self, settings: StudySettings, batches: int) -> None:
        """Move the rates as the settings say, in epochs of so many batches."""
        made = {
            one: scheduler_of(self.engine.own(one), settings, steps_of(settings, batches)) for one in self.optimisers
        }
        self.schedulers = {one: scheduler for one, scheduler in made.items() if scheduler is not None}

    def measured(self) -> AbstractContextManager[object]:
        """Around all that is measured: with the averaged weights, where there are some."""
        return nullcontext() if self.average is None else self.average.in_place()


def _learning(network: nn.Module, optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """The optimiser's parameters in the network's order, by which the sum of their squares is rounded."""
    known = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    return [parameter for parameter in network.parameters() if id(parameter) in known]


class Mean:
    """A mean of losses weighted by how many examples each is of, added up in single precision in their order."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, loss: Tensor, count: int) -> None:
        """Take one in."""
        own = loss.detach()
        single = own if own.dtype in (torch.float32, torch.float64) else own.float()
        self.total = single * count if self.total is None else self.total + single * count
        self.count += count

    def pool(self) -> None:
        """Take in what the other processes have, where there are several."""
        if self.total is not None and processes.count() > 1:
            self.total = processes.summed(self.total)
            self.count = int(processes.summed(torch.tensor(self.count, device=self.total.device)))

    def value(self) -> float:
        """The mean; NaN of nothing."""
        return float("nan") if self.total is None else float(self.total / torch.tensor(self.count))


@contextmanager
def as_measured(network: nn.Module) -> Iterator[None]:
    """In evaluation mode, without gradients; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
