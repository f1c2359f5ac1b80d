"""What a task is: data, networks, a loss, metrics, the measure that decides, and a picture for the report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import lightning as L
from torch import Tensor, nn
from torchmetrics import Metric

from limen.lab import networks
from limen.lab.data import TaskData
from limen.lab.records import Shown
from limen.lab.settings import StudySettings

ANY = -1
"""In the shape of an output: as many as the network likes."""


@dataclass(frozen=True)
class Measure:
    """The metric that chooses the epoch and decides the comparison."""

    name: str
    higher_is_better: bool = True

    @property
    def on_heldout(self) -> str:
        """Its name among an epoch's metrics."""
        return f"val_{self.name}"

    @property
    def on_test(self) -> str:
        """Its name among a run's metrics."""
        return f"test_{self.name}"

    def goodness(self, value: float) -> float:
        """The value, turned so that more is better.

        >>> Measure("rmse", higher_is_better=False).goodness(2.0)
        -2.0
        """
        return value if self.higher_is_better else -value


class Task(ABC):
    """A kind of problem. One object serves every study of it, and holds nothing of any of them."""

    name: ClassVar[str]
    about: ClassVar[str]
    """What it is in a few words, and what data it takes."""
    measure: ClassVar[Measure]
    chooses: ClassVar[Measure | None] = None
    """What chooses the epoch where :attr:`measure` cannot, such as ``Measure("loss", higher_is_better=False)``."""
    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]]
    """Those that come with limen; a factory is called with what it takes of :meth:`offered`."""
    defaults: ClassVar[Mapping[str, Any]]
    """Settings where the user gives none; ``network`` at least, and ``learning_rate`` where 1e-3 is not it."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Settings that not every task has, and this one does."""
    observed: ClassVar[int] = 500
    """Held-out examples over which the learned shapes are described."""
    tabled: ClassVar[tuple[str, ...]] = ()
    """Test metrics that the report tabulates beside the measure that decides, as far as the data has them."""
    train_score: ClassVar[str] = ""
    """What :meth:`train_metric` measures where that is not the measure, such as ``box_accuracy``."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Libraries that it needs beyond the lab's, whose versions are noted."""
    reference: ClassVar[str] = ""
    """What needs no network and is shown beside the activations, such as the naive forecast."""

    def check(self, settings: StudySettings) -> None:  # noqa: B027 - nothing to check is an answer
        """Raise for a setting that cannot be, before any data is read."""

    @abstractmethod
    def load(self, settings: StudySettings) -> TaskData:
        """The data, divided."""

    @abstractmethod
    def offered(self, data: TaskData) -> Mapping[str, Any]:
        """What describes the data to a network's factory, by the names of its arguments."""

    @abstractmethod
    def output_shape(self, data: TaskData) -> tuple[int, ...]:
        """What the network must give for one example; :data:`ANY` where the number is its own choice."""

    def begin(self, network: nn.Module, data: TaskData, settings: StudySettings) -> None:  # noqa: B027
        """What the network must know before it is trained, kept in its buffers."""

    def settle(self, network: nn.Module, data: TaskData, settings: StudySettings) -> None:  # noqa: B027
        """What the network must know before it is measured, after every epoch; kept in its buffers."""

    def trainer_module(self, network: nn.Module, data: TaskData, settings: StudySettings) -> L.LightningModule | None:
        """How it is trained where that is not one loss by Adam; None: :class:`.supervised.Supervised`.

        It logs ``train_loss`` and ``train_score`` an epoch, and evaluates as that does.
        """
        return None

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is minimised: a scalar."""

    def objective(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """What a training step differentiates, for its time and memory."""
        return self.loss(network(inputs), targets)

    def objectives(self, network: nn.Module) -> Sequence[tuple[nn.Module, Callable[[tuple[Tensor, Tensor]], Tensor]]]:
        """The parts of a network that are trained against losses of their own, each with its loss of a batch."""
        return ((network, lambda batch: self.objective(network, *batch)),)

    @abstractmethod
    def metrics(self, data: TaskData) -> dict[str, Metric]:
        """New metrics by name, the measure that decides among them."""

    def train_metric(self, data: TaskData) -> Metric:
        """What is noted of the training batches of an epoch: the measure, or something cheaper in its stead."""
        return self.metrics(data)[self.measure.name]

    def answer(self, outputs: Tensor, targets: Tensor, data: TaskData) -> tuple[Tensor, Tensor]:
        """Predictions and truth as the metrics take them."""
        return outputs, targets

    def reference_metrics(self, data: TaskData) -> dict[str, float]:
        """The test metrics of :attr:`reference`, by name."""
        return {}

    def show(self, network: nn.Module, data: TaskData, settings: StudySettings) -> Shown | None:
        """What the report draws of a tested network; None where it draws nothing."""
        return None

    def build(self, name: str, data: TaskData, seed: int) -> nn.Module:
        """A network for the data, its weights given by ``seed`` alone."""
        return networks.construct(name, self.offered(data), seed, self.networks)
