"""A study's data as a Lightning DataModule: the same batches as in its runs."""

from __future__ import annotations

import lightning as L
import torch
from helpers_lab import data_of, experiment_of, tiny

from limen.lab.tasks import registry as tasks
from limen.lab.training import run as train
from limen.lab.training.batches import Batches
from limen.lab.training.datamodule import StudyData
from limen.lab.training.supervised import Supervised


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
    module = Supervised(network, tasks.find("classification"), data_of(settings), settings)
    torch.manual_seed(2)
    with train._lightning():
        trainer.fit(module, datamodule=batches)
        found = trainer.test(module, datamodule=batches, verbose=False)[0]
    assert found["test_loss"] == record.metrics["test_loss"]
