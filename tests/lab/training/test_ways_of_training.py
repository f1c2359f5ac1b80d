"""A run with any optimiser, schedule, augmentation, smoothing, clipping and average is the plain loop in PyTorch."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import thoroughly
from helpers_lab import data_of, experiment_of, tiny
from helpers_tasks import made
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from limen.errors import StudyError
from limen.lab.settings import SEARCHED, SelectSettings, StudySettings
from limen.lab.study.searching import Selection
from limen.lab.tasks import registry as tasks
from limen.lab.training import cost, schedules
from limen.lab.training import run as train
from limen.lab.training.average import Average
from limen.lab.training.experiment import Experiment
from limen.lab.training.loop import Loop
from limen.training import activation_parameters

STEPS, EPOCHS = 3, 3
OTHER_STREAM = 2**62


class WithNorm(nn.Module):
    """Convolution, batch normalisation, an activation."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                                    nn.Linear(144, num_classes))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def chosen(**changed: Any) -> StudySettings:
    return tiny(**{"network": "test_ways_of_training:WithNorm", "epochs": EPOCHS, **changed})


def experiment(**changed: Any) -> Experiment:
    return experiment_of(chosen(**changed), data_of(tiny()))


def groups_of(network: nn.Module, rate: float, decay: float, own: float | None = None) -> list[dict[str, Any]]:
    ours = activation_parameters(network)
    known = {id(parameter) for parameter in ours}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [{"params": rest, "lr": rate, "weight_decay": decay}, {"params": ours, "lr": own or rate, "weight_decay": 0}]


def sgd_cosine(groups: list[dict[str, Any]]) -> tuple[Any, Any]:
    optimiser = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    parts = LinearLR(optimiser, 1 / 4, total_iters=3), CosineAnnealingLR(optimiser, 6)
    return optimiser, SequentialLR(optimiser, [*parts], [3])


def adam_step(groups: list[dict[str, Any]]) -> tuple[Any, Any]:
    optimiser = torch.optim.Adam(groups)
    return optimiser, MultiStepLR(optimiser, [3, 6], gamma=0.2)


def adamw_cycle(groups: list[dict[str, Any]]) -> tuple[Any, Any]:
    optimiser = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    return optimiser, OneCycleLR(optimiser, rates, total_steps=9, pct_start=3 / 9, cycle_momentum=False)


def adamw_alone(groups: list[dict[str, Any]]) -> tuple[Any, Any]:
    return torch.optim.AdamW(groups), None


HOW: dict[str, tuple[dict[str, Any], Any]] = {
    "as ever": ({}, adamw_alone),
    "sgd": (
        {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01,
         "schedule": "cosine", "warmup": 1, "augment": "crop+flip", "label_smoothing": 0.1, "clip": 0.5, "ema": 0.7},
        sgd_cosine,
    ),
    "adam": (
        {"optimizer": "adam", "weight_decay": 0.1, "activation_lr": 0.01, "schedule": "step", "milestones": (1, 2),
         "factor": 0.2, "augment": "flip"},
        adam_step,
    ),
    "adamw": ({"weight_decay": 0.1, "schedule": "one-cycle", "warmup": 1, "ema": 0.9, "clip": 0.2}, adamw_cycle),
}  # fmt: skip


def by_hand(images: Tensor, drawn: Tensor, how: str) -> Tensor:
    """What ``--augment`` does, image by image and pixel by pixel."""
    _, _, height, width = images.shape
    found = torch.zeros_like(images)
    for image, row, out in zip(images, drawn.tolist(), found, strict=True):
        most = [math.ceil(side / 8) if how == "crop+flip" else 0 for side in (height, width)]
        down, across = (int(number * (2 * margin + 1)) - margin for number, margin in zip(row[1:3], most, strict=True))
        for y in range(height):
            for x in range(width):
                from_y, from_x = y + down, (width - 1 - x if row[0] < 0.5 else x) + across
                if 0 <= from_y < height and 0 <= from_x < width:
                    out[:, y, x] = image[:, from_y, from_x]
    return found


def plain(made: Experiment, network: nn.Module, kind: Any) -> dict[str, Tensor]:
    """A training as one writes it by hand, with torch alone; the averaged weights where there is an average."""
    settings, train_split = made.settings, made.data.train
    optimiser, scheduler = kind(
        groups_of(network, settings.learning_rate, settings.weight_decay, settings.activation_lr)
    )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema or 0.5), use_buffers=True)
    torch.manual_seed(0)
    network.train()
    for epoch in range(settings.epochs):
        order = torch.randperm(180, generator=torch.Generator().manual_seed(epoch))
        drawn = torch.rand(180, 7, generator=torch.Generator().manual_seed(OTHER_STREAM + epoch))
        for places in order.split(64):
            images = train_split.images[places]
            if settings.augment != "none":
                images = by_hand(images, drawn[places], settings.augment)
            logits = network(images.float().sub_(127.5).div_(127.5))
            loss = F.cross_entropy(logits, train_split.labels[places], label_smoothing=settings.label_smoothing)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            if settings.clip:
                nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()
            if scheduler:
                scheduler.step()
            average.update_parameters(network)
    return average.module.state_dict() if settings.ema else network.state_dict()


def measured(loop: Loop) -> dict[str, Tensor]:
    with loop.learner.measured():
        return loop.learner.engine.weights(loop.network)


@pytest.mark.parametrize("how", HOW)
def test_a_run_is_the_plain_loop_bit_for_bit(how: str) -> None:
    changed, kind = HOW[how]
    made = experiment(**changed)
    ours = train.prepared(made, "asau", 0)
    assert ours.run() == ""
    expected = plain(made, train.build(made, "asau", 0)[0], kind)
    found = measured(ours)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.is_floating_point():  # torch averages counts as well, and cuts off what is behind the point
            assert torch.equal(found[name], value), name


def test_what_is_measured_and_chosen_is_the_average() -> None:
    loop = train.prepared(experiment(ema=0.8, learning_rate=0.02), "asau", 0)
    loop.run()
    average = loop.learner.average
    assert average is not None
    own, averaged = loop.network.state_dict(), measured(loop)
    assert all(not torch.equal(own[name], averaged[name]) for name in ("layers.0.weight", "layers.1.running_mean"))
    assert int(averaged["layers.1.num_batches_tracked"]) == STEPS * EPOCHS  # counts are those of the network
    with loop.learner.measured():
        again = loop.learner.evaluate("val", loop.heldout)
    assert again["val_loss"] == loop.rows[-1].heldout_loss
    assert loop.learner.evaluate("val", loop.heldout)["val_loss"] != again["val_loss"]
    assert train.run(experiment(ema=0.8, learning_rate=0.02), "asau", 0).metrics["val_loss"] in {
        row.heldout_loss for row in loop.rows
    }


def test_an_average_gives_back_the_weights_it_took_the_place_of() -> None:
    network = nn.Linear(2, 1)
    average = Average(network, 0.5)
    states = []
    for value in (1.0, 3.0):
        nn.init.constant_(network.weight, value)
        average.update()
    with contextlib.suppress(ZeroDivisionError), average.in_place():
        states.append(network.weight.tolist())
        _ = 1 // 0
    assert (states, network.weight.tolist()) == ([[[2.0, 2.0]]], [[3.0, 3.0]])


def test_labels_are_smooth_while_training_only() -> None:
    smooth, hard = (train.prepared(experiment(label_smoothing=value), "relu", 0) for value in (0.3, 0.0))
    batch = next(iter(hard.batches))
    losses = []
    for loop in (smooth, hard):
        loss, _ = loop.learner.module(*batch)
        losses.append(loss.item())
        losses.append(loop.learner.evaluate("val", loop.heldout)["val_loss"])
    assert losses[0] != losses[2]
    logits = hard.network.train()(batch[0])
    truth = 0.7 * F.one_hot(batch[1], 10) + 0.03
    assert losses[0] == pytest.approx(-(truth * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-5)
    assert losses[3] == losses[1]


def test_accumulated_batches_are_one_step_of_everything() -> None:
    made = experiment(batch_size=20, accumulate=3, optimizer="sgd", schedule="cosine", ema=0.5, clip=1.0)
    loop = train.prepared(made, "relu", 0)
    (scheduler,) = loop.learner.schedulers.values()
    updates = []
    update = Average.update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Average, "update", lambda self: (updates.append(scheduler.last_epoch), update(self)))
        loop.run()
    assert updates == list(range(1, STEPS * EPOCHS + 1))
    assert scheduler.get_last_lr()[0] == pytest.approx(0, abs=1e-8)


def rates(total: int, **changed: Any) -> list[float]:
    """Of every step, as parts of the full one."""
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = schedules.scheduler_of(optimiser, chosen(epochs=total // STEPS, **changed), STEPS)
    found = []
    for _ in range(total):
        found.append(optimiser.param_groups[0]["lr"] / 0.5)
        optimiser.step()
        if scheduler is not None:
            scheduler.step()
    return found


def cosine(step: int, start: int, total: int) -> float:
    return (1 + math.cos(math.pi * (step - start) / (total - start))) / 2


def bent(step: int) -> float:
    """One cycle of 12 steps, the fourth of which is the top."""
    if step <= 3:
        return 1 + (1 / 25 - 1) * (1 + math.cos(math.pi * step / 3)) / 2
    low = 1 / 25 / 1e4
    return low + (1 - low) * (1 + math.cos(math.pi * (step - 3) / 8)) / 2


FORMULAS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "constant": ({}, [1.0] * 12),
    "warm-up": ({"warmup": 1}, [1 / 4, 2 / 4, 3 / 4, *[1.0] * 9]),
    "half an epoch of warm-up": ({"warmup": 0.6}, [1 / 3, 2 / 3, *[1.0] * 10]),
    "cosine": ({"schedule": "cosine"}, [cosine(step, 0, 12) for step in range(12)]),
    "cosine after warm-up": (
        {"schedule": "cosine", "warmup": 1},
        [1 / 4, 2 / 4, 3 / 4, *(cosine(step, 3, 12) for step in range(3, 12))],
    ),
    "steps": ({"schedule": "step"}, [*[1.0] * 6, *[0.1] * 3, *[0.01] * 3]),
    "steps after warm-up": (
        {"schedule": "step", "warmup": 1, "milestones": (2,), "factor": 0.5},
        [1 / 4, 2 / 4, 3 / 4, *[1.0] * 3, *[0.5] * 6],
    ),
    "one cycle": ({"schedule": "one-cycle"}, [bent(step) for step in range(12)]),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_rates_follow_their_formula(name: str) -> None:
    changed, expected = FORMULAS[name]
    assert rates(12, **changed) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "one-cycle"])
@pytest.mark.parametrize("warmup", [0, 0.1, 0.9, 2.9])
@pytest.mark.parametrize("epochs", [2, 3, 7])
def test_any_length_has_its_rates(schedule: str, warmup: float, epochs: int) -> None:
    if warmup < epochs:
        for steps in (2, 5):
            optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
            settings = chosen(epochs=epochs, schedule=schedule, warmup=warmup)
            scheduler = schedules.scheduler_of(optimiser, settings, steps)
            for _ in range(steps * epochs):
                assert 0 < optimiser.param_groups[0]["lr"] <= 1 + 1e-6
                optimiser.step()
                if scheduler is not None:
                    scheduler.step()


def test_a_cycle_of_two_steps_is_refused() -> None:
    settings = chosen(schedule="one-cycle", epochs=1)
    schedules.require_steps(settings, 3)
    with pytest.raises(StudyError, match="--schedule one-cycle needs 3 steps or more, and this study has 2 of 64"):
        schedules.require_steps(settings, 2)


def test_an_average_over_more_steps_than_there_are_is_advised_against() -> None:
    assert schedules.advice(chosen(), 3) == []
    assert schedules.advice(chosen(ema=0.5), 3) == []
    (said,) = schedules.advice(chosen(ema=0.99), 3)
    assert said.startswith("--ema 0.99 averages over about the last 100 steps, and a run has 9: ")


def test_the_step_that_is_timed_is_the_studys(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(cost, "optimiser_of", lambda network, settings: seen.append(settings.optimizer))
    cost._step(WithNorm((1, 8, 8), 10), experiment(optimizer="sgd"))
    assert seen == ["sgd"]


@pytest.mark.parametrize("name", thoroughly(tasks.names(), usual=("regression", "generation")))
def test_every_task_can_be_trained_so(name: str, tmp_path: Path) -> None:
    common = {"task": name, "activations": ("asau",), "baseline": "asau", "seeds": (0,), "epochs": 3}
    way = {"optimizer": "sgd", "learning_rate": 1e-3, "momentum": 0.9, "schedule": "one-cycle", "clip": 1.0, "ema": 0.5}
    task = tasks.find(name)
    own = {"augment": task.augments[-1], "label_smoothing": 0.1}
    own = {option: value for option, value in own.items() if option in task.options}
    settings = StudySettings(**{**task.defaults, **common, **made(name, tmp_path), **way, **own})
    tasks.check_options(task, settings)
    found = train.run(experiment_of(settings), "asau", 0)
    assert found.status == "finished", found.failure


def test_a_search_can_be_trained_so() -> None:
    settings = SelectSettings(
        kind="select", data="digits", network="mlp", activations=("relu", "adact", "optimized"), baseline="relu",
        candidates=("relu", "silu", "elu", "mish", "prelu"), seeds=(0,), epochs=3, limit_train=200, limit_test=60,
        temperature=(1.0, 0.5), drop_below=0.19, ema=0.5, optimizer="sgd", momentum=0.9, schedule="cosine", clip=1.0,
    )  # fmt: skip
    found = Selection(experiment_of(settings), settings)._search(0, lambda row: None)
    assert (found.status, found.activation) == ("finished", SEARCHED), found.failure
    assert found.plan is not None
