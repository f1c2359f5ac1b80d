"""A task as Lightning trains it, and the callbacks a study listens with."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MetricCollection

from limen.lab.data import Data
from limen.lab.metric import Metric
from limen.lab.records import EpochRow
from limen.lab.settings import StudySettings
from limen.lab.training.task import Task
from limen.training import param_groups


class NonFiniteLossError(Exception):
    """The loss became NaN or infinite, so the run has failed."""


def finite(loss: Tensor, module: L.LightningModule, index: int) -> Tensor:
    """The loss of the batch with this index; one that is not finite ends the run."""
    if not torch.isfinite(loss):
        epoch = module.current_epoch + 1
        raise NonFiniteLossError(f"the loss became {loss.item()} in epoch {epoch}, step {index + 1}")
    return loss


class Supervised(L.LightningModule):
    """A network with its task's loss and metrics, and Adam."""

    def __init__(self, network: nn.Module, task: Task, data: Data[Any], settings: StudySettings) -> None:
        super().__init__()
        self.network, self.task, self.data, self.settings = network, task, data, settings
        self.learning_rate, self.weight_decay = settings.learning_rate, settings.weight_decay
        self.activation_lr = settings.activation_lr
        self.train_score = task.train_meter(data)
        measures = MetricCollection(dict(task.meters(data)))
        self.val_measures, self.test_measures = measures.clone(prefix="val_"), measures.clone(prefix="test_")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with decoupled weight decay (which at 0 is Adam), never on activation parameters."""
        groups = param_groups(self.network, self.learning_rate, self.weight_decay, activation_lr=self.activation_lr)
        return torch.optim.AdamW(groups)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor | None:
        """The loss of a batch; one that is not finite ends the run."""
        inputs, targets = batch
        outputs = self.network(inputs)
        loss = finite(self.task.loss(outputs, targets), self, index)
        self.train_score.update(*self.task.answer(outputs.detach(), targets, self.data))
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets))
        self.log("train_score", self.train_score, on_step=False, on_epoch=True, batch_size=len(targets))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Give the network what it must know before it is measured."""
        self.task.settle(self.network, self.data, self.settings)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Loss and measures on the held-out examples of an epoch."""
        self._evaluate(batch, "val", self.val_measures)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Loss and measures on the test examples."""
        self._evaluate(batch, "test", self.test_measures)

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str, measures: MetricCollection) -> None:
        inputs, targets = batch
        outputs = self.network(inputs)
        measures.update(*self.task.answer(outputs, targets, self.data))
        self.log(f"{split}_loss", self.task.loss(outputs, targets), on_epoch=True, batch_size=len(targets))
        self.log_dict(measures, on_epoch=True, batch_size=len(targets))


class ByObjective(Supervised):
    """Minimises the task's objective, which needs the network and not its outputs; there is no training score."""

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The objective of a batch; one that is not finite ends the run."""
        inputs, targets = batch
        loss = finite(self.task.objective(self.network, inputs, targets), self, index)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        self.log("train_score", math.nan, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss


class BestWeights(L.Callback):
    """Keeps the weights of the epoch with the best held-out measure; among equals, of the one with the lower loss.

    A small validation split often gives several epochs the same accuracy, and the earliest of them is undertrained.
    """

    def __init__(self, network: nn.Module, measure: Metric) -> None:
        self.network, self.measure = network, measure
        self.epoch = 0
        self.best = (-math.inf, -math.inf)
        self.state: dict[str, Any] = {}

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare with the best so far."""
        measured = trainer.callback_metrics
        rank = (self.measure.goodness(float(measured[self.measure.on_heldout])), -float(measured["val_loss"]))
        if rank > self.best:
            self.epoch, self.best = trainer.current_epoch + 1, rank
            self.state = copy.deepcopy(self.network.state_dict())


class StepTimes(L.Callback):
    """Wall time of every training step, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Start the clock."""
        self._start = _now(pl_module.device)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Stop the clock."""
        self.seconds.append(_now(pl_module.device) - self._start)

    def median_ms(self) -> float:
        """The median step, in milliseconds."""
        return 1000 * float(torch.tensor(self.seconds).median()) if self.seconds else float("nan")


class Epochs(L.Callback):
    """Collects a row an epoch and tells a listener about each."""

    def __init__(
        self, listener: Callable[[EpochRow], None], measure: Metric, test_score: Callable[[], float] | None = None
    ) -> None:
        self.rows: list[EpochRow] = []
        self.listener, self.measure, self.test_score = listener, measure, test_score

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validation has run by now, so all four numbers are there."""
        measured = trainer.callback_metrics
        self.rows.append(
            EpochRow(
                epoch=trainer.current_epoch + 1,
                train_loss=float(measured["train_loss"]),
                train_score=float(measured["train_score"]),
                heldout_loss=float(measured["val_loss"]),
                heldout_score=float(measured[self.measure.on_heldout]),
                test_score=self.test_score() if self.test_score else None,
            )
        )
        self.listener(self.rows[-1])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
