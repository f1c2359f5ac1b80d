"""What every run of a study shares: its task, looked up once, the task's data, and the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

from limen.lab.data import Samples
from limen.lab.settings import StudySettings
from limen.lab.training import augmentation, processes
from limen.lab.training.batches import Batches
from limen.lab.training.mosaic import NAME, mosaic
from limen.lab.training.task import D, Task


@dataclass(frozen=True)
class Experiment(Generic[D]):
    """A task on its data with the settings of a study."""

    task: Task[D]
    data: D
    settings: StudySettings
    place: Path | None = None
    """The folder of the study, where runs keep what they go on from; None: nowhere."""

    @property
    def heldout(self) -> Samples:
        """What chooses the epoch: the validation split, or the test set under the paper's protocol."""
        split: Samples | None = self.data.tested if self.settings.test_chooses else self.data.validation
        assert split is not None
        return split

    def training(self, seed: int) -> Batches:
        """Batches of the training split, shuffled and augmented by ``seed``, on the study's device."""
        settings, part = self.settings, (processes.rank(), processes.count())
        augment = mosaic if settings.augment == NAME else augmentation.BY_NAME[settings.augment]
        return Batches(
            self.data.train, settings.batch_size, seed=seed, device=settings.device, part=part, augment=augment
        )

    def evaluated(self, split: Samples) -> Batches:
        """Batches of a split in its own order, on the study's device."""
        return Batches(split, self.settings.eval_batch_size, device=self.settings.device)

    def training_on(self, samples: Samples) -> Experiment[D]:
        """The same with other training examples."""
        return replace(self, data=replace(self.data, train=samples))
