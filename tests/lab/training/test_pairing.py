"""Runs are paired: for one seed every activation starts from the same weights and sees the same batches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers import thoroughly
from helpers_lab import data_of, experiment_of, tiny
from torch import Tensor, nn

import limen
from limen.activations.base import Activation
from limen.lab.data import Split
from limen.lab.training import run as train
from limen.lab.training import supervised
from limen.lab.training.batches import Batches
from limen.selection import sample_
from limen.surgery import SwapReport

NETWORKS = ("convnet", "mlp", "resnet20", "wrn-10-1", "densenet-bc-16-12", "mobilenet-0.25")
"""Small ones, with every kind of block; a swap of each activation into each of the large ones would take minutes."""
SWAPPED = tuple(name for name in limen.names() if limen.create(name).keeps_shape)


def weights_elsewhere(network: nn.Module) -> dict[str, Tensor]:
    """Everything saved with a network except what belongs to its activations."""
    inside = tuple(f"{path}." for path, module in network.named_modules() if isinstance(module, Activation))
    return {name: value for name, value in network.state_dict().items() if not name.startswith(inside)}


def built(network: str, activation: str, seed: int) -> dict[str, Tensor]:
    settings = tiny(network=network)
    return weights_elsewhere(train.build(experiment_of(settings, data_of(tiny())), activation, seed)[0])


@pytest.mark.parametrize("network", thoroughly(NETWORKS, usual=("mlp", "convnet", "wrn-10-1")))
def test_every_activation_starts_from_the_same_weights(network: str) -> None:
    reference = built(network, "relu", 3)
    assert sum(value.numel() for value in reference.values()) > 10_000
    for activation in SWAPPED:
        found = built(network, activation, 3)
        assert found.keys() == reference.keys()
        for name, value in found.items():
            assert torch.equal(value, reference[name]), (activation, name)


@pytest.mark.parametrize("network", NETWORKS)
def test_another_seed_starts_from_other_weights(network: str) -> None:
    first, second = built(network, "asau", 0), built(network, "asau", 1)
    drawn = [name for name, value in first.items() if value.ndim > 1]
    assert drawn
    assert not any(torch.equal(first[name], second[name]) for name in drawn)


def numbered(count: int) -> Split:
    """Images whose label is their index, and whose first pixel too."""
    images = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count)
    return Split(images, torch.arange(count))


def order(batches: Batches) -> list[int]:
    return [label for _, labels in batches for label in labels.tolist()]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first, second, other = (Batches(numbered(50), 8, seed=seed) for seed in (0, 0, 1))
    epochs = [order(first) for _ in range(4)]
    torch.manual_seed(99)  # whatever an activation draws must not move the batches
    torch.rand(7)
    assert [order(second) for _ in range(4)] == epochs
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert all(order(other) != epoch for epoch in epochs)


def test_no_seed_shares_an_epoch_with_another() -> None:
    # Seed and epoch are folded into one number; a fold such as seed + epoch would give seed 1 the batches of seed 0.
    seen = set()
    for seed in range(6):
        batches = Batches(numbered(40), 8, seed=seed)
        seen |= {tuple(order(batches)) for _ in range(6)}
    assert len(seen) == 36


@pytest.mark.parametrize("count", [2, 8, 15, 16, 18])
def test_every_epoch_is_a_permutation(count: int) -> None:
    batches = Batches(numbered(count), 8, seed=5)
    for _ in range(3):
        passed = list(batches)
        assert len(passed) == len(batches)
        assert sorted(label for _, labels in passed for label in labels.tolist()) == list(range(count))


def test_images_keep_their_labels_and_are_scaled() -> None:
    for images, labels in Batches(numbered(50), 8, seed=2):
        assert images.dtype == torch.float32
        assert torch.allclose(images[:, 0, 0, 0] * 127.5 + 127.5, labels.float(), atol=1e-4)
    white = Split(torch.full((2, 1, 1, 1), 255, dtype=torch.uint8), torch.tensor([0, 1]))
    assert next(iter(Batches(white, 2)))[0].unique().tolist() == [1.0]


def test_a_lonely_last_image_is_left_out_of_shuffled_passes_only() -> None:
    shuffled, in_order = Batches(numbered(17), 8, seed=0), Batches(numbered(17), 8)
    assert [len(labels) for _, labels in shuffled] == [8, 8]
    assert len(shuffled) == 2
    assert [len(labels) for _, labels in in_order] == [8, 8, 1]
    assert order(in_order) == list(range(17))
    assert [len(labels) for _, labels in Batches(numbered(18), 8, seed=0)] == [8, 8, 2]


def test_the_image_left_out_differs_between_epochs() -> None:
    batches = Batches(numbered(17), 8, seed=0)
    left_out = {(set(range(17)) - set(order(batches))).pop() for _ in range(8)}
    assert len(left_out) > 1


@pytest.mark.parametrize("activation", ["asau", "adact", "ash"])
def test_a_run_repeats_exactly(activation: str) -> None:
    settings = tiny(epochs=1)
    first = train.run(experiment_of(settings), activation, 4)
    torch.rand(3)
    second = train.run(experiment_of(settings), activation, 4)
    assert first.metrics == second.metrics
    assert first.curves == second.curves
    assert first.layers == second.layers
    other = train.run(experiment_of(settings), activation, 5)
    assert other.metrics["test_loss"] != first.metrics["test_loss"]


def test_two_activations_see_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Tensor]] = {}
    step = supervised.Supervised.step

    def spying(self, batch, index):
        seen[activation].append(batch[0].clone())
        return step(self, batch, index)

    monkeypatch.setattr(supervised.Supervised, "step", spying)
    settings = tiny(epochs=2)
    for activation in ("relu", "adact"):
        seen[activation] = []
        train.run(experiment_of(settings), activation, 0)
    assert len(seen["relu"]) == 6
    assert all(torch.equal(a, b) for a, b in zip(seen["relu"], seen["adact"], strict=True))


def with_dropout(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A network that draws in every step."""
    parts = [nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, num_classes)]
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), 16), *parts)


def test_two_activations_see_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Tensor]] = {}

    def spying(self: nn.Dropout, x: Tensor) -> Tensor:
        mask = nn.functional.dropout(torch.ones_like(x), self.p, self.training)
        seen[activation].append(mask)
        return x * mask

    def sampled(network: nn.Module) -> SwapReport:
        report = limen.swap_(network, "adact")
        sample_(network, "gumbel")
        return report

    monkeypatch.setattr(nn.Dropout, "forward", spying)
    settings = tiny(network="test_pairing:with_dropout", epochs=2)
    for activation, furnish in (("relu", None), ("rrelu", None), ("adact", None), ("sampled", sampled)):
        seen[activation] = []
        train.run(experiment_of(settings), activation, 0, furnish=furnish)
    reference = seen.pop("relu")
    assert len({tuple(mask.flatten().tolist()) for mask in reference}) > 12
    for activation, masks in seen.items():
        assert all(map(torch.equal, masks, reference)), activation


def test_what_an_activation_draws_when_it_is_made_moves_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    @limen.register("drawing")
    class Drawing(limen.Activation):
        def __init__(self, **named: Any) -> None:
            super().__init__(**named)
            torch.rand(5)

        @staticmethod
        def formula(x: Any) -> Any:
            return x

    states = []
    step = supervised.Supervised.step

    def spying(self: Any, batch: Any, index: int) -> Tensor:
        states.append(torch.get_rng_state())
        return step(self, batch, index)

    monkeypatch.setattr(supervised.Supervised, "step", spying)
    settings = tiny(epochs=1, batch_size=1000)
    for activation in ("relu", "drawing"):
        train.run(experiment_of(settings), activation, 0)
    first, second = states
    assert torch.equal(first, second)  # dropout in a network falls alike for both
