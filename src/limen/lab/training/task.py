"""What a task is: data, networks, a loss, metrics, the measure that decides, and a picture for the report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import TypeVar

from limen.lab import networks
from limen.lab.data import Data
from limen.lab.declaration import Declaration
from limen.lab.records import Shown
from limen.lab.settings import StudySettings
from limen.lab.training import transfer
from limen.lab.training.learner import Learner
from limen.lab.training.meter import Meter

D = TypeVar("D", bound=Data[Any], default=Any)
"""The data of a task."""
ANY = -1
"""In the shape of an output: as many as the network likes."""


class Task(Declaration, ABC, Generic[D]):
    """A kind of problem. One object serves every study of it, and holds nothing of any of them."""

    @abstractmethod
    def load(self, settings: StudySettings) -> D:
        """The data, divided."""

    def read(self, settings: StudySettings) -> D:
        """The data as they come, in the parts that they have, for :meth:`other`."""
        return self.load(settings)

    def other(self, data: D, settings: StudySettings) -> D:
        """The settings' other data as a network of the data takes them, in whatever parts; all of it will be tested.

        Raises:
            DataError: if they do not match.
        """
        return transfer.matched(self.read(transfer.settings_for_other(data, settings)), data)

    @abstractmethod
    def offered(self, data: D) -> Mapping[str, Any]:
        """What describes the data to a network's factory, by the names of its arguments."""

    @abstractmethod
    def output_shape(self, data: D) -> tuple[int, ...]:
        """What the network must give for one example; :data:`ANY` where the number is its own choice."""

    def begin(self, network: nn.Module, data: D, settings: StudySettings) -> None:
        """What the network must know before it is trained, kept in its buffers."""

    def settle(self, network: nn.Module, data: D, settings: StudySettings) -> None:
        """What the network must know before it is measured, after every epoch; kept in its buffers."""

    def learner(self, network: nn.Module, data: D, settings: StudySettings) -> Learner | None:
        """How it is trained where that is not one loss by one optimiser; None: :class:`.supervised.Supervised`."""
        return None

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is minimised: a scalar."""

    def smooth_loss(self, outputs: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """The loss of labels of which every class has a share, for tasks that have this option."""
        return F.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def objective(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """What a training step differentiates, for its time and memory."""
        return self.loss(network(inputs), targets)

    def objectives(self, network: nn.Module) -> Sequence[tuple[nn.Module, Callable[[tuple[Tensor, Tensor]], Tensor]]]:
        """The parts of a network that are trained against losses of their own, each with its loss of a batch."""
        return ((network, lambda batch: self.objective(network, *batch)),)

    @abstractmethod
    def meters(self, data: D) -> dict[str, Meter]:
        """What computes :attr:`metrics`, new and by name, as far as the data has them.

        What takes long to import is imported here: whoever asks a task for its name, its options or its networks does
        not need it.
        """

    def train_meter(self, data: D) -> Meter:
        """What is noted of the training batches of an epoch: the measure, or something cheaper in its stead."""
        return self.meters(data)[self.measure.name]

    def answer(self, outputs: Tensor, targets: Tensor, data: D) -> tuple[Tensor, Tensor]:
        """Predictions and truth as the metrics take them."""
        return outputs, targets

    def examine(self, network: nn.Module, split: Any, data: D, settings: StudySettings) -> dict[str, float]:
        """Metrics of a test set, by name, that no batch of it shows, such as of whole scans; here there are none."""
        return {}

    def reference_metrics(self, data: D) -> dict[str, float]:
        """The test metrics of :attr:`reference`, by name."""
        return {}

    def show(self, network: nn.Module, data: D, settings: StudySettings) -> Shown | None:
        """What the report draws of a tested network; None where it draws nothing."""
        return None

    def build(self, name: str, data: D, seed: int) -> nn.Module:
        """A network for the data, its weights given by ``seed`` alone."""
        return networks.construct(name, self.offered(data), seed, self.networks)
