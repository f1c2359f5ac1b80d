"""Peak memory against sizes worked out by hand; a float32 is 4 bytes."""

from __future__ import annotations

import pytest
import torch
from helpers_lab import data_of, experiment_of, tiny
from torch import nn

from limen.lab.training import run as train
from limen.lab.training.memory import peak_memory

N = 1000
BYTES = 4 * N


def test_nothing_is_nothing() -> None:
    assert peak_memory(lambda: None) == 0


def test_one_tensor_and_its_size_by_type() -> None:
    assert peak_memory(lambda: torch.ones(N)) == BYTES
    assert peak_memory(lambda: torch.ones(N, dtype=torch.float64)) == 2 * BYTES
    assert peak_memory(lambda: torch.ones(N, dtype=torch.bool)) == N


def test_views_and_in_place_operations_add_nothing() -> None:
    def work() -> None:
        x = torch.ones(N)
        x.view(10, 100).t()[2:5].unsqueeze(0).add_(1)
        x.relu_()
        x.mul_(2)
        torch.add(x, x, out=x)

    assert peak_memory(work) == BYTES


def test_inputs_do_not_count_nor_do_their_views() -> None:
    x = torch.ones(N)
    assert peak_memory(lambda: x.view(10, 100).add_(1)) == 0
    assert peak_memory(lambda: x.view(10, 100) + 1) == BYTES
    y = torch.ones(N)
    assert peak_memory(lambda: (x + y, y + x)) == 2 * BYTES


def test_released_memory_is_reused() -> None:
    def chain() -> None:
        x = torch.ones(N)
        for _ in range(10):
            x = x + 1  # the old and the new are there together, never more

    assert peak_memory(chain) == 2 * BYTES


def test_the_peak_is_not_the_end() -> None:
    def work() -> None:
        x = torch.ones(5 * N)
        del x
        torch.ones(N)

    assert peak_memory(work) == 5 * BYTES


def test_what_is_kept_adds_up() -> None:
    assert peak_memory(lambda: [torch.ones(N) for _ in range(7)]) == 7 * BYTES


def test_a_view_keeps_its_storage_alive() -> None:
    def work() -> None:
        part = torch.ones(N)[:1]
        other = torch.ones(N)
        del part, other

    assert peak_memory(work) == 2 * BYTES


def test_two_measurements_do_not_touch() -> None:
    def work() -> torch.Tensor:
        return torch.ones(N) + torch.ones(N)

    assert peak_memory(work) == peak_memory(work) == 3 * BYTES


def test_what_backward_saves_is_seen() -> None:
    x = torch.ones(N, requires_grad=True)

    def forward_only() -> None:
        with torch.no_grad():
            x.sigmoid().sigmoid().sigmoid().sum()

    def with_gradients() -> None:
        torch.autograd.grad(x.sigmoid().sigmoid().sigmoid().sum(), x)

    # Without gradients two layers are alive at a time; with them all three are saved and one gradient is on its way.
    assert 2 * BYTES <= peak_memory(forward_only) <= 2 * BYTES + 8
    assert 4 * BYTES <= peak_memory(with_gradients) <= 5 * BYTES + 16


def test_an_error_leaves_no_mode_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        peak_memory(lambda: 1 // 0)
    assert peak_memory(lambda: torch.ones(N)) == BYTES


def test_step_memory_sees_the_gradients_and_leaves_the_network_as_it_was() -> None:
    settings = tiny(network="convnet")
    network, _ = train.build(experiment_of(settings, data_of(tiny())), "asau", 0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    peak = train.step_memory(network, experiment_of(settings, data_of(tiny())))
    assert peak >= sum(4 * parameter.numel() for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert peak == train.step_memory(network, experiment_of(settings, data_of(tiny())))


def test_step_memory_grows_with_the_batch() -> None:
    network, _ = train.build(experiment_of(tiny()), "relu", 0)
    small, large = (
        train.step_memory(network, experiment_of(tiny(batch_size=size), data_of(tiny()))) for size in (16, 128)
    )
    assert large > small


def test_more_saved_by_the_activation_costs_more() -> None:
    def network(activation: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4096), activation, nn.Linear(4096, 10))

    class Wasteful(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp().log().sigmoid() * x

    settings = tiny()
    lean, wasteful = (
        train.step_memory(network(activation), experiment_of(settings)) for activation in (nn.ReLU(), Wasteful())
    )
    assert wasteful - lean >= 2 * 4 * 64 * 4096
