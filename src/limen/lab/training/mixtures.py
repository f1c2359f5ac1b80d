"""Lightning callbacks for a search by mixtures: schedules, dropping, weights learned on held-out batches.

Each works with any LightningModule whose model has mixtures, and none changes anything unless it is added. The lab's
own runs have the same without Lightning, in :mod:`.followers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from limen.lab.records import WeightsRow
from limen.lab.training import followers
from limen.lab.training.followers import Follower
from limen.selection.schedule import Schedule


class _Following(L.Callback):
    """Tells a follower what a trainer does."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Training begins."""
        self.follower.begin(pl_module)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """A batch is next."""
        self.follower.before_batch(pl_module, _progress(trainer))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Here gradients are accumulated, averaged over processes and unscaled."""
        self.follower.before_step(pl_module, _progress(trainer))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """A batch is done."""
        self.follower.after_batch(pl_module, _progress(trainer))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """An epoch is done."""
        self.follower.after_epoch(pl_module, trainer.current_epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints."""
        return self.follower.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.follower.load_state_dict(state_dict)


class MixtureSchedule(_Following):
    """Moves the mixtures' temperature and the factor of their entropy in the loss with the progress of training.

    Args:
        temperature: a schedule such as ``geometric(1.0, 0.1)``; None leaves it.
        entropy: a schedule of the factor, such as ``linear(0.0, 0.1)``; None adds nothing.

    >>> from limen.selection import geometric
    >>> callback = MixtureSchedule(temperature=geometric(1.0, 0.1))
    """

    def __init__(self, temperature: Schedule | None = None, entropy: Schedule | None = None) -> None:
        super().__init__(followers.MixtureSchedule(temperature, entropy))


class DropHopeless(_Following):
    """After each epoch takes out the candidates whose weight is below ``below``.

    Args:
        below: a weight between 0 and 1.
        after: epochs to wait first.

    >>> DropHopeless(0.05).dropped
    {}
    """

    def __init__(self, below: float, after: int = 1) -> None:
        self._dropping = followers.DropHopeless(below, after)
        super().__init__(self._dropping)

    @property
    def dropped(self) -> dict[int, dict[str, tuple[str, ...]]]:
        """What was dropped, by epoch (from 1) and site."""
        return self._dropping.dropped


class LearnOnHeldout(_Following):
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
        learning = followers.LearnOnHeldout(model, batches, loss, lr, entropy=entropy)
        super().__init__(learning)
        self.search, self.name = learning.search, name

    @property
    def state_key(self) -> str:
        """Its name in a checkpoint."""
        return super().state_key + self.name


class Trajectories(_Following):
    """Notes every mixture's weights before training and after each epoch."""

    def __init__(self) -> None:
        self._noting = followers.Trajectories()
        super().__init__(self._noting)

    @property
    def rows(self) -> list[WeightsRow]:
        """What was noted, by the paths of the module's ``network`` where it has one."""
        return [row.model_copy(update={"path": row.path.removeprefix("network.")}) for row in self._noting.rows]


def _progress(trainer: L.Trainer) -> float:
    """From 0 at the first step to 1 at the last."""
    steps = float(trainer.estimated_stepping_batches)
    # Where a module steps several optimisers for a batch, Lightning counts each of them, and estimates the batches.
    by_batch = not trainer.lightning_module.automatic_optimization
    done = trainer.fit_loop.epoch_loop.total_batch_idx if by_batch else trainer.global_step
    return done / (steps - 1) if 1 < steps < float("inf") else 0.0
