"""What follows a run from step to step: it may steer a search by mixtures, or only take notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from limen.lab.numerals import stored
from limen.lab.records import WeightsRow
from limen.selection import (
    HeldoutWeights,
    add_entropy_gradient,
    drop_hopeless_,
    entropy,
    mixtures,
    set_temperature_,
    soft_weights,
)
from limen.selection.schedule import Schedule


class Follower:
    """Hears what a run does. ``progress`` goes from 0 at the first step to 1 at the last."""

    def begin(self, network: nn.Module) -> None:
        """Training begins, or goes on."""

    def before_batch(self, network: nn.Module, progress: float) -> None:
        """A batch is next."""

    def before_step(self, network: nn.Module, progress: float) -> None:
        """Gradients are there, averaged over processes and unscaled; the optimiser is next."""

    def after_batch(self, network: nn.Module, progress: float) -> None:
        """A batch is done."""

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """An epoch is done and measured; they count from 1."""

    def end(self) -> None:
        """Training is over, however it went."""

    def state_dict(self) -> dict[str, Any]:
        """What it must know to go on in the middle of a run."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class MixtureSchedule(Follower):
    """Moves the mixtures' temperature and the factor of their entropy in the loss with the progress of training."""

    def __init__(self, temperature: Schedule | None = None, entropy: Schedule | None = None) -> None:
        self.temperature, self.entropy = temperature, entropy

    def before_batch(self, network: nn.Module, progress: float) -> None:
        """Set the temperature of this step."""
        if self.temperature is not None:
            set_temperature_(network, self.temperature(progress))

    def before_step(self, network: nn.Module, progress: float) -> None:
        """Add the entropy's gradient."""
        if self.entropy is not None:
            add_entropy_gradient(network, self.entropy(progress))


class DropHopeless(Follower):
    """After each epoch from ``after`` on takes out the candidates whose weight is below ``below``."""

    def __init__(self, below: float, after: int = 1) -> None:
        self.below, self.after = below, after
        self.dropped: dict[int, dict[str, tuple[str, ...]]] = {}
        """What was dropped, by epoch and site."""

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """Drop; the logits are the same in every process, so the decision is."""
        if epoch < self.after:
            return
        gone = drop_hopeless_(network, self.below)
        if gone:
            self.dropped[epoch] = gone


class LearnOnHeldout(Follower):
    """Learns the mixtures' weights on held-out batches, one after each training batch (bi-level, first order)."""

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        loss: Callable[[Any], Tensor],
        lr: float = 1e-3,
        *,
        entropy: Schedule | None = None,
    ) -> None:
        self.search = HeldoutWeights(model, lr)
        self.model, self.loss, self.entropy = model, loss, entropy
        self._taken = 0
        self._batches = _endless(batches)

    def after_batch(self, network: nn.Module, progress: float) -> None:
        """A step of the weights."""
        batch = next(self._batches)
        self._taken += 1
        factor = self.entropy(min(1.0, progress)) if self.entropy else 0.0
        self.search.step(lambda: self.loss(batch) + factor * entropy(self.model) if factor else self.loss(batch))

    def state_dict(self) -> dict[str, Any]:
        """The logits' optimiser, and how many batches were taken."""
        return {"taken": self._taken, "search": self.search.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """With the batch that is next."""
        while self._taken < state["taken"]:
            next(self._batches)
            self._taken += 1
        self.search.load_state_dict(state["search"])


class Trajectories(Follower):
    """Notes every mixture's weights before training and after each epoch."""

    def __init__(self) -> None:
        self.rows: list[WeightsRow] = []

    def begin(self, network: nn.Module) -> None:
        """The weights it starts from."""
        if not self.rows:
            self._note(0, network)

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """The weights of an epoch."""
        self._note(epoch, network)

    def state_dict(self) -> dict[str, Any]:
        """What was noted."""
        return {"rows": [row.model_dump() for row in self.rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Note further."""
        self.rows = [WeightsRow(**row) for row in state["rows"]]

    def _note(self, epoch: int, network: nn.Module) -> None:
        for path, mixture in mixtures(network):
            mean = soft_weights(mixture).reshape(-1, len(mixture.names)).mean(0)
            weights = {name: stored(w) for name, w in zip(mixture.names, mean.tolist(), strict=True)}
            self.rows.append(WeightsRow(epoch=epoch, path=path, weights=weights))


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from batches
