"""Lightning callbacks for a search by mixtures: schedules, dropping, weights learned on held-out batches.

Each works with any LightningModule whose model has mixtures, and none changes anything unless it is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lightning as L
import torch
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


class MixtureSchedule(L.Callback):
    """Moves the mixtures' temperature and the factor of their entropy in the loss with the progress of training.

    Args:
        temperature: a schedule such as ``geometric(1.0, 0.1)``; None leaves it.
        entropy: a schedule of the factor, such as ``linear(0.0, 0.1)``; None adds nothing.

    >>> from limen.selection import geometric
    >>> callback = MixtureSchedule(temperature=geometric(1.0, 0.1))
    """

    def __init__(self, temperature: Schedule | None = None, entropy: Schedule | None = None) -> None:
        self.temperature, self.entropy = temperature, entropy

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Set the temperature of this step."""
        if self.temperature is not None:
            set_temperature_(pl_module, self.temperature(_progress(trainer)))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the entropy's gradient; here gradients are accumulated, averaged over processes and unscaled."""
        if self.entropy is not None:
            add_entropy_gradient(pl_module, self.entropy(_progress(trainer)))


class DropHopeless(L.Callback):
    """After each epoch takes out the candidates whose weight is below ``below``.

    Args:
        below: a weight between 0 and 1.
        after: epochs to wait first.

    >>> DropHopeless(0.05).dropped
    {}
    """

    def __init__(self, below: float, after: int = 1) -> None:
        self.below, self.after = below, after
        self.dropped: dict[int, dict[str, tuple[str, ...]]] = {}
        """What was dropped, by epoch (from 1) and site."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drop; the logits are the same in every process, so the decision is."""
        if trainer.current_epoch + 1 < self.after:
            return
        gone = drop_hopeless_(pl_module, self.below)
        if gone:
            self.dropped[trainer.current_epoch + 1] = gone


class LearnOnHeldout(L.Callback):
    """Learns the mixtures' weights on held-out batches, one after each training batch (bi-level, first order).

    Make it before the optimiser is made: the logits are frozen for that.

    Args:
        model: the network with mixtures.
        batches: the held-out batches, begun again when they end.
        loss: from a batch to its loss, through the network.
        lr: learning rate of the logits.
        entropy: a schedule of the factor of their entropy in this loss; None adds nothing.
        name: what a checkpoint knows it by beside others.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        loss: Callable[[Any], Tensor],
        lr: float = 1e-3,
        *,
        entropy: Schedule | None = None,
        name: str = "",
    ) -> None:
        self.search = HeldoutWeights(model, lr)
        self.model, self.loss, self.entropy, self.name = model, loss, entropy, name
        self._batches = _endless(batches)

    @property
    def state_key(self) -> str:
        """Its name in a checkpoint."""
        return super().state_key + self.name

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """A step of the weights."""
        batch = next(self._batches)
        factor = self.entropy(min(1.0, _progress(trainer))) if self.entropy else 0.0
        self.search.step(lambda: self.loss(batch) + factor * entropy(self.model) if factor else self.loss(batch))

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints."""
        return self.search.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.search.load_state_dict(state_dict)


class Trajectories(L.Callback):
    """Notes every mixture's weights before training and after each epoch."""

    def __init__(self) -> None:
        self.rows: list[WeightsRow] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The weights it starts from."""
        self._note(0, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The weights of an epoch."""
        self._note(trainer.current_epoch + 1, pl_module)

    def _note(self, epoch: int, module: L.LightningModule) -> None:
        for path, mixture in mixtures(module):
            mean = soft_weights(mixture).reshape(-1, len(mixture.names)).mean(0)
            weights = {name: stored(w) for name, w in zip(mixture.names, mean.tolist(), strict=True)}
            self.rows.append(WeightsRow(epoch=epoch, path=path.removeprefix("network."), weights=weights))


def _progress(trainer: L.Trainer) -> float:
    """From 0 at the first step to 1 at the last."""
    steps = float(trainer.estimated_stepping_batches)
    # Where a module steps several optimisers for a batch, Lightning counts each of them, and estimates the batches.
    by_batch = not trainer.lightning_module.automatic_optimization
    done = trainer.fit_loop.epoch_loop.total_batch_idx if by_batch else trainer.global_step
    return done / (steps - 1) if 1 < steps < float("inf") else 0.0


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from batches
