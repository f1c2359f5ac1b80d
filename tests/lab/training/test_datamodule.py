"""A study's data as a Lightning DataModule: the same batches as in its runs."""

from __future__ import annotations

import warnings

import lightning as L
import torch
from helpers_lab import data_of, experiment_of, tiny
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.training import run as train
from limen.lab.training.batches import Batches
from limen.lab.training.datamodule import StudyData
from limen.training import param_groups


def same(one: Batches, other: Batches) -> bool:
    pairs = list(zip(one, other, strict=True))
    return bool(pairs) and all(torch.equal(a, b) for first, second in pairs for a, b in zip(first, second, strict=True))


def test_the_batches_are_those_of_the_splits() -> None:
    settings = tiny()
    data = data_of(settings)
    module = StudyData(experiment_of(settings, data), seed=3)
    assert same(module.train_dataloader(), Batches(data.train, settings.batch_size, seed=3))
    assert not same(module.train_dataloader(), Batches(data.train, settings.batch_size, seed=4))
    assert same(module.val_dataloader(), Batches(data.validation, settings.eval_batch_size))
    assert same(module.test_dataloader(), Batches(data.test, settings.eval_batch_size))


class Own(L.LightningModule):
    """Whatever somebody has."""

    def __init__(self, network: nn.Module, lr: float) -> None:
        super().__init__()
        self.network, self.lr = network, lr

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(param_groups(self.network, self.lr))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("test_loss", self.training_step(batch, index), batch_size=len(batch[0]))


def test_where_the_test_set_chooses_it_is_held_out() -> None:
    settings = tiny(protocol="paper")
    module = StudyData(experiment_of(settings))
    assert same(module.val_dataloader(), module.test_dataloader())


def test_a_trainer_of_ones_own_trains_as_a_study_does() -> None:
    settings = tiny(epochs=1)
    record = train.run(experiment_of(settings), "asau", 2)
    network, _ = train.build(experiment_of(settings), "asau", 2)
    batches = StudyData(experiment_of(settings), seed=2)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, **quiet)
    module = Own(network, settings.learning_rate)
    torch.manual_seed(2)
    with warnings.catch_warnings():
        for advice in (".*treespec.*", ".*num_workers.*", ".*many workers.*", ".*logging interval.*",
                       ".*validation_step.*"):  # fmt: skip
            warnings.filterwarnings("ignore", advice)
        trainer.fit(module, datamodule=batches)
        found = trainer.test(module, datamodule=batches, verbose=False)[0]
    assert found["test_loss"] == record.metrics["test_loss"]
