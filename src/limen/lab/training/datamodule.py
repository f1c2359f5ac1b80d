"""The data of a study as a Lightning DataModule: the batches that its own runs see, for anyone's trainer."""

from __future__ import annotations

import lightning as L

from limen.lab.training.batches import Batches
from limen.lab.training.experiment import Experiment


class StudyData(L.LightningDataModule):
    """Training, held-out and test batches of any task, on the study's device.

    ``seed`` alone orders and augments the training batches, anew in each epoch. The held-out batches are of the
    validation split, or of the test set where the study's protocol lets that choose the epoch.

    >>> from limen.lab.settings import StudySettings
    >>> from limen.lab.tasks import registry
    >>> settings = StudySettings(data="digits", batch_size=32, activations=("relu",), baseline="relu", seeds=(0,))
    >>> task = registry.find(settings.task)
    >>> digits = StudyData(Experiment(task, task.load(settings), settings), seed=0)
    >>> images, labels = next(iter(digits.train_dataloader()))
    >>> images.shape, labels.shape
    (torch.Size([32, 1, 8, 8]), torch.Size([32]))

    With any module and trainer: ``L.Trainer(max_epochs=3).fit(module, datamodule=digits)``.
    """

    def __init__(self, experiment: Experiment, *, seed: int = 0) -> None:
        super().__init__()
        self.experiment, self.seed = experiment, seed

    def train_dataloader(self) -> Batches:
        """Shuffled batches."""
        return self.experiment.training(self.seed)

    def val_dataloader(self) -> Batches:
        """What chooses the epoch, in order."""
        return self.experiment.evaluated(self.experiment.heldout)

    def test_dataloader(self) -> Batches:
        """The test examples, in order."""
        return self.experiment.evaluated(self.experiment.data.tested)
