"""A training from its first epoch to its last: steps, what is measured after each epoch, and the best weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from limen.lab.metric import Metric
from limen.lab.records import EpochRow
from limen.lab.training.experiment import Experiment
from limen.lab.training.followers import Follower
from limen.lab.training.learner import Learner, Mean, NonFiniteLossError


class Best:
    """The weights of the epoch with the best held-out measure; among equals, of the one with the lower loss.

    A small validation split often gives several epochs the same accuracy, and the earliest of them is undertrained.
    """

    def __init__(self, measure: Metric) -> None:
        self.measure = measure
        self.epoch = 0
        self.rank = (-math.inf, -math.inf)
        self.state: dict[str, Any] = {}

    def compare(self, network: nn.Module, epoch: int, measured: dict[str, float]) -> None:
        """Keep the weights if they are better than any before."""
        rank = (self.measure.goodness(measured[self.measure.on_heldout]), -measured["val_loss"])
        if rank > self.rank:
            self.epoch, self.rank = epoch, rank
            self.state = copy.deepcopy(network.state_dict())


class Loop:
    """Trains a learner on the training batches of an experiment."""

    def __init__(
        self,
        learner: Learner,
        experiment: Experiment,
        seed: int,
        followers: Sequence[Follower],
        listener: Callable[[EpochRow], None],
    ) -> None:
        task, settings = experiment.task, experiment.settings
        self.learner, self.followers, self.listener = learner, followers, listener
        self.network, self.device = learner.network, torch.device(settings.device)
        self.batches, self.heldout = experiment.training(seed), experiment.evaluated(experiment.heldout)
        self.measure, self.epochs = task.measure, settings.epochs
        self.best = Best(task.measure if settings.test_chooses else task.chooses or task.measure)
        self.test_score: Callable[[], float] | None = None
        """What is noted of the test examples after every epoch, if anything."""
        self.rows: list[EpochRow] = []
        self.seconds: list[float] = []
        """Wall time of every step."""
        self.done, self.total = 0, len(self.batches) * self.epochs
        """Steps of an optimiser, or batches where a batch is several."""

    def run(self) -> str:
        """Train; return why it failed, or nothing."""
        self.learner.before_step = self._before_step
        self.learner.begin()
        try:
            for follower in self.followers:
                follower.begin(self.network)
            while len(self.rows) < self.epochs:
                self._epoch(len(self.rows) + 1)
        except NonFiniteLossError as error:
            step = len(self.seconds) - len(self.rows) * len(self.batches) + 1
            return f"{error} in epoch {len(self.rows) + 1}, step {step}."
        finally:
            for follower in self.followers:
                follower.end()
        chosen = bool(self.best.state)
        return "" if chosen else f"no epoch could be chosen: {self.best.measure.on_heldout} was never a finite number."

    def median_ms(self) -> float:
        """The median step, in milliseconds."""
        return 1000 * float(torch.tensor(self.seconds).median()) if self.seconds else math.nan

    @property
    def progress(self) -> float:
        """From 0 at the first step to 1 at the last."""
        return self.done / (self.total - 1) if self.total > 1 else 0.0

    def _epoch(self, epoch: int) -> None:
        losses = Mean()
        for index, batch in enumerate(self.batches):
            self._batch(index, batch, losses)
        measured = self.learner.evaluate("val", self.heldout)
        self.best.compare(self.network, epoch, measured)
        self.rows.append(
            EpochRow(
                epoch=epoch,
                train_loss=losses.value(),
                train_score=self.learner.train_score(),
                heldout_loss=measured["val_loss"],
                heldout_score=measured[self.measure.on_heldout],
                test_score=self.test_score() if self.test_score else None,
            )
        )
        self.listener(self.rows[-1])
        for follower in self.followers:
            follower.after_epoch(self.network, epoch)

    def _batch(self, index: int, batch: tuple[torch.Tensor, torch.Tensor], losses: Mean) -> None:
        for follower in self.followers:
            follower.before_batch(self.network, self.progress)
        start = self._now()
        taught = self.learner.step(batch, index)
        self.seconds.append(self._now() - start)
        losses.add(taught.loss, taught.examples)
        if taught.answered:
            self.learner.score(*taught.answered)
        self.done += not self.learner.by_batch
        for follower in self.followers:
            follower.after_batch(self.network, self.progress)
        self.done += self.learner.by_batch

    def _before_step(self) -> None:
        for follower in self.followers:
            follower.before_step(self.network, self.progress)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
