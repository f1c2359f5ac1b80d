"""A training from its first epoch to its last: steps, what is measured after each epoch, and the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from limen.lab.metric import Metric
from limen.lab.records import EpochRow
from limen.lab.training import checkpoint, processes
from limen.lab.training.checkpoint import Checkpoints
from limen.lab.training.engine import Engine
from limen.lab.training.experiment import Experiment
from limen.lab.training.followers import Follower
from limen.lab.training.learner import Learner, Mean, NonFiniteLossError


class Best:
    """The weights of the epoch with the best held-out measure; among equals, of the one with the lower loss.

    A small validation split often gives several epochs the same accuracy, and the earliest of them is undertrained.
    """

    def __init__(self, measure: Metric, engine: Engine) -> None:
        self.measure, self.engine = measure, engine
        self.epoch = 0
        self.rank = (-math.inf, -math.inf)
        self.state: dict[str, Any] = {}

    def compare(self, network: nn.Module, epoch: int, measured: dict[str, float]) -> None:
        """Keep the weights if they are better than any before."""
        rank = (self.measure.goodness(measured[self.measure.on_heldout]), -measured["val_loss"])
        if rank > self.rank:
            self.epoch, self.rank = epoch, rank
            self.state = self.engine.weights(network)


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
        self.best = Best(task.measure if settings.test_chooses else task.chooses or task.measure, learner.engine)
        self.test_score: Callable[[], float] | None = None
        """What is noted of the test examples after every epoch, if anything."""
        self.rows: list[EpochRow] = []
        self.seconds: list[float] = []
        """Wall time of every step."""
        learner.plan(settings, len(self.batches))
        self.together = settings.accumulate
        """Batches of one step."""
        self.done, self.total = 0, math.ceil(len(self.batches) / self.together) * self.epochs
        """Steps of an optimiser, or batches where a batch is several."""
        self.told: Callable[[EpochRow], None] = lambda row: None
        """Whom epochs are logged to, beside the listener."""
        self.before = 0.0
        """Seconds that it took until it was interrupted, if it was."""
        self._start = time.perf_counter()

    def run(self, checkpoints: Checkpoints | None = None) -> str:
        """Train, from where it was interrupted if it was; return why it failed, or nothing."""
        self.learner.before_step = self._before_step
        self.learner.begin()
        if checkpoints is not None and (state := checkpoints.read()) is not None:
            self.load_state_dict(state)
        try:
            for follower in self.followers:
                follower.begin(self.network)
            while len(self.rows) < self.epochs:
                self._epoch(len(self.rows) + 1)
                if checkpoints is not None and checkpoints.due(len(self.rows)) and len(self.rows) < self.epochs:
                    checkpoints.write(self.state_dict())
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

    def state_dict(self) -> dict[str, Any]:
        """All that the following epochs depend on, and what is known of those that are done."""
        engine = self.learner.engine
        return {
            "network": engine.weights(self.network),
            "optimisers": [engine.learned(self.network, optimiser) for optimiser in self.learner.optimisers],
            "schedulers": [scheduler.state_dict() for scheduler in self.learner.schedulers.values()],
            "average": self._average(),
            "followers": [follower.state_dict() for follower in self.followers],
            "own": self.learner.random_state(),
            "shuffled": self.batches.epoch,
            "done": self.done,
            "rows": [row.model_dump() for row in self.rows],
            "steps": self.seconds,
            "best": {"epoch": self.best.epoch, "rank": self.best.rank, "state": self.best.state},
            "modes": [module.training for module in self.network.modules()],
            "seconds": self.before + time.perf_counter() - self._start,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        engine, average = self.learner.engine, self.learner.average
        if average is not None:
            with average.read():
                engine.load_weights(self.network, state["average"])
        engine.load_weights(self.network, state["network"])
        for scheduler, known in zip(self.learner.schedulers.values(), state["schedulers"], strict=True):
            scheduler.load_state_dict(known)
        for optimiser, learned in zip(self.learner.optimisers, state["optimisers"], strict=True):
            engine.load_learned(self.network, optimiser, learned)
        for follower, known in zip(self.followers, state["followers"], strict=True):
            follower.load_state_dict(known)
        self.learner.continue_from(state["own"])
        self.batches.epoch, self.done, self.before = state["shuffled"], state["done"], state["seconds"]
        self.rows, self.seconds = [EpochRow(**row) for row in state["rows"]], list(state["steps"])
        best = state["best"]
        self.best.epoch, self.best.rank, self.best.state = best["epoch"], tuple(best["rank"]), best["state"]
        for module, training in zip(self.network.modules(), state["modes"], strict=True):
            module.training = training
        checkpoint.draw_from(state["drawn"][processes.rank()])

    def _average(self) -> dict[str, Any]:
        """A copy of the averaged weights; nothing where the network's own are measured."""
        if self.learner.average is None:
            return {}
        with self.learner.measured():
            return self.learner.engine.weights(self.network)

    def _epoch(self, epoch: int) -> None:
        losses = Mean()
        for index, batch in enumerate(self.batches):
            self._batch(index, batch, losses)
        losses.pool()
        with self.learner.measured():
            measured = processes.told(self.learner.evaluate("val", self.heldout))
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
        self.told(self.rows[-1])
        for follower in self.followers:
            follower.after_epoch(self.network, epoch)

    def _batch(self, index: int, batch: tuple[torch.Tensor, torch.Tensor], losses: Mean) -> None:
        for follower in self.followers:
            follower.before_batch(self.network, self.progress)
        if self.together > 1 or processes.count() > 1:
            self._share(index)
        start = self._now()
        taught = self.learner.step(batch, index)
        self.seconds.append(self._now() - start)
        own = taught.examples if processes.count() == 1 else self.batches.own(index)
        losses.add(taught.loss, own)
        if taught.answered and own:
            self.learner.score(*taught.answered)
        self.done += self.learner.last and not self.learner.by_batch
        for follower in self.followers:
            follower.after_batch(self.network, self.progress)
        if self.learner.average is not None and self.learner.last:
            self.learner.average.update()
        self.done += self.learner.by_batch

    def _share(self, index: int) -> None:
        """How much of a step a batch is: of those put together, and of that this process's part."""
        first = index - index % self.together
        last = min(first + self.together, len(self.batches)) - 1
        share = self.batches.own(index) * processes.count() / self.batches.size(index) / (last - first + 1)
        self.learner.share, self.learner.first, self.learner.last = share, index == first, index == last

    def _before_step(self) -> None:
        for follower in self.followers:
            follower.before_step(self.network, self.progress)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
