"""The data of a study as a Lightning DataModule: the batches that its own runs see, for anyone's trainer."""

from __future__ import annotations

import lightning as L

from limen.lab import tasks
from limen.lab.batches import Batches
from limen.lab.data import Samples, TaskData
from limen.lab.settings import StudySettings


class StudyData(L.LightningDataModule):
    """Training, held-out and test batches of any task, on the study's device.

    ``seed`` alone orders the training batches, anew in each epoch. The held-out batches are of the validation split, or
    of the test set where the study's protocol lets that choose the epoch. Data that are not given are loaded in
    :meth:`setup`.

    >>> settings = StudySettings(data="digits", batch_size=32, activations=("relu",), baseline="relu", seeds=(0,))
    >>> digits = StudyData(settings, seed=0)
    >>> digits.setup()
    >>> images, labels = next(iter(digits.train_dataloader()))
    >>> images.shape, labels.shape
    (torch.Size([32, 1, 8, 8]), torch.Size([32]))

    With any module and trainer: ``L.Trainer(max_epochs=3).fit(module, datamodule=digits)``.
    """

    def __init__(self, settings: StudySettings, data: TaskData | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.settings, self.seed = settings, seed
        self.data = data

    def setup(self, stage: str | None = None) -> None:
        """Load and divide the data, once."""
        if self.data is None:
            self.data = tasks.find(self.settings.task).load(self.settings)

    def train_dataloader(self) -> Batches:
        """Shuffled batches."""
        return Batches(self._loaded().train, self.settings.batch_size, seed=self.seed, device=self.settings.device)

    def val_dataloader(self) -> Batches:
        """What chooses the epoch, in order."""
        return self._evaluated(heldout(self._loaded(), self.settings))

    def test_dataloader(self) -> Batches:
        """The test examples, in order."""
        test = self._loaded().test
        assert test is not None
        return self._evaluated(test)

    def _evaluated(self, split: Samples) -> Batches:
        return Batches(split, self.settings.eval_batch_size, device=self.settings.device)

    def _loaded(self) -> TaskData:
        self.setup()
        assert self.data is not None
        return self.data


def heldout(data: TaskData, settings: StudySettings) -> Samples:
    """What chooses the epoch: the validation split, or the test set under the paper's protocol."""
    split = data.test if settings.test_chooses else data.validation
    assert split is not None
    return split
