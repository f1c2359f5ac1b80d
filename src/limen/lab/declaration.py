"""What a task declares: its name, its networks, its options, what it measures.

All of it is known without torch, so a command lists tasks, finds what is mistyped, and makes tables and reports of what
is stored without waiting for torch. A :class:`.training.task.Task` computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from limen.lab import metric
from limen.lab.data.named import check_set_or_path
from limen.lab.metric import Metric
from limen.lab.networks.catalogue import Catalogue

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings


class Declaration:
    """A kind of problem, as far as it needs no tensors."""

    name: ClassVar[str]
    about: ClassVar[str]
    """What it is in a few words, and what data it takes."""
    metrics: ClassVar[tuple[Metric, ...]]
    """All that :meth:`meters` computes, in the order of the report's table."""
    by_class: ClassVar[tuple[Metric, ...]] = ()
    """Those of them that are noted of every class of the test set, too."""
    measure: ClassVar[Metric]
    """The one of them that chooses the epoch and decides the comparison."""
    chooses: ClassVar[Metric | None] = None
    """What chooses the epoch where :attr:`measure` cannot, such as the loss."""
    networks: ClassVar[Catalogue]
    """Those that come with limen; a factory is called with what it takes of :meth:`offered`."""
    defaults: ClassVar[Mapping[str, Any]]
    """Settings where the user gives none; ``network`` at least, and ``learning_rate`` where 1e-3 is not it."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Settings that not every task has, and this one does."""
    augments: ClassVar[tuple[str, ...]] = ("none", "flip", "crop+flip", "randaugment-like")
    """What ``--augment`` can do to images, where it is an option: the truth of an image follows it, or stays."""
    divisible: ClassVar[bool] = True
    """Whether a batch can be shared among devices, and several be one step: a loss is a mean over examples."""
    observed: ClassVar[int] = 500
    """Held-out examples over which the learned shapes are described."""
    train_score: ClassVar[Metric | None] = None
    """What :meth:`train_meter` measures where that is not the measure."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Libraries that it needs beyond the lab's, whose versions are noted."""
    reference: ClassVar[str] = ""
    """What needs no network and is shown beside the activations, such as the naive forecast."""

    @property
    def held_to(self) -> Metric:
        """What rates are tuned for: the measure, or where it has no value on validation data what chooses the epoch."""
        return self.chooses or self.measure

    def check(self, settings: StudySettings) -> None:
        """Raise for a setting that cannot be, before any data is read."""

    def look(self, settings: StudySettings) -> None:
        """Raise where there are no data at the place that the settings name; by default a built-in set or a path."""
        check_set_or_path(settings.data)

    def seen_in_a_step(self, settings: StudySettings) -> tuple[int, str]:
        """How much a training step sees and what that is, such as tokens, where tables show it; else nothing."""
        return 0, ""

    def metric(self, name: str) -> Metric:
        """One of its metrics, or of those that any task's runs may note, by name.

        Raises:
            SpecError: if it has none of this name.
        """
        return metric.find(name, (*self.metrics, *metric.OF_EVERY_TASK), f"the task {self.name}")

    @cached_property
    def _stored(self) -> Mapping[str, Metric]:
        return {name: of for of in (*self.metrics, *metric.OF_EVERY_TASK) for name in of.stored_as}

    def refused(self, metrics: Mapping[str, float]) -> str:
        """Why a finished run cannot have these metrics; empty where it can.

        What decides has a value; of all others NaN is one where the data leave them without.
        """
        decides = self.measure.on_test
        if not math.isfinite(metrics.get(decides, math.nan)):
            return f"{decides} is {metrics[decides]}" if decides in metrics else f"{decides} is missing"
        found = ((name, of.refused(value)) for name, value in metrics.items() if (of := self._of(name)))
        return next((f"{name} {why}" for name, why in found if why), "")

    def _of(self, stored: str) -> Metric | None:
        """The metric that is stored by this name; None where it is none of the task's."""
        name, of, one = stored.partition(metric.OF)
        found = self._stored.get(name)
        return found.of_class(one) if found and of else found
