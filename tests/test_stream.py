"""The activations' own random numbers: they move nothing that torch draws, and torch's seeds and states move them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import KEEPING_SHAPE
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import limen
from limen.stream import next_seed

Apply = Callable[[limen.Activation, Tensor], Tensor]
NOISY = ("rrelu", "adact")


def drawn_with(module: limen.Activation, apply: Apply, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Whatever else is drawn around two steps with an activation."""
    torch.manual_seed(1)
    x = torch.randn(2, 4, 5, dtype=dtype, requires_grad=True)
    found = []
    for _ in range(2):
        y = apply(module, x)
        found += [F.dropout(torch.ones(40)), torch.randn(3)]
        y.square().sum().backward()
        found.append(torch.randperm(9))
    return found


def by(backend: Any) -> Apply:
    def apply(module: limen.Activation, x: Tensor) -> Tensor:
        with limen.use_backend(backend):
            return module(x)

    return apply


def checkpointed(reentrant: bool) -> Apply:
    return lambda module, x: checkpoint(module, x, use_reentrant=reentrant)


HOW = {"auto": by("auto"), "plain": by("plain"), "reentrant": checkpointed(True), "checkpointed": checkpointed(False)}


@pytest.mark.parametrize("how", HOW)
def test_no_activation_moves_what_else_is_drawn(how: str) -> None:
    reference = drawn_with(limen.ReLU(), HOW[how])
    for name in KEEPING_SHAPE:
        found = drawn_with(limen.create(name).train(), HOW[how])
        assert all(map(torch.equal, found, reference)), name


@pytest.mark.parametrize("name", NOISY)
def test_neither_in_other_types_nor_under_transforms(name: str) -> None:
    module = limen.create(name).train()
    for dtype in (torch.float64, torch.bfloat16):
        found, reference = drawn_with(module, by("auto"), dtype), drawn_with(limen.ReLU(), by("auto"), dtype)
        assert all(map(torch.equal, found, reference))
    for randomness in ("same", "different"):
        mapped = torch.func.vmap(module, randomness=randomness)
        reference = drawn_with(limen.ReLU(), by("auto"))
        assert all(map(torch.equal, drawn_with(module, lambda _, x: mapped(x)), reference))  # noqa: B023


def test_nor_a_formula_that_draws_itself() -> None:
    class Shaken(limen.Activation):
        plain_only = "it draws noise itself"

        @staticmethod
        def formula(x: Any) -> Any:
            return x * limen.formula.uniform(x)

    found, reference = drawn_with(Shaken(), by("auto")), drawn_with(limen.ReLU(), by("auto"))
    assert all(map(torch.equal, found, reference))
    assert len(Shaken()(torch.ones(99)).unique()) > 90


def test_nor_sampled_weights() -> None:
    mixture = limen.AdAct(("relu", "silu")).train()
    mixture.shape_weights().gumbel = True
    found, reference = drawn_with(mixture, by("auto")), drawn_with(limen.ReLU(), by("auto"))
    assert all(map(torch.equal, found, reference))


@pytest.mark.parametrize("drawn", [0, 1, 2, 622, 623, 624, 625, 1300])
def test_the_count_is_in_no_bit_that_is_drawn(drawn: int) -> None:
    def draws(counted: int) -> list[Tensor]:
        torch.manual_seed(drawn)
        found = [torch.rand(drawn)]
        for draw in (lambda: torch.rand(700), lambda: torch.randn(33), lambda: torch.randperm(100)):
            for _ in range(counted):
                next_seed()
            found.append(draw())
        return found

    assert all(map(torch.equal, draws(0), draws(3)))


def test_the_stream_does_what_torch_does() -> None:
    torch.manual_seed(3)
    begun = [next_seed() for _ in range(3)]
    state = torch.get_rng_state()
    more = [next_seed() for _ in range(3)]
    torch.manual_seed(3)
    assert [next_seed() for _ in range(3)] == begun
    with torch.random.fork_rng():
        torch.manual_seed(4)
        other = [next_seed() for _ in range(3)]
    assert [next_seed() for _ in range(3)] == more
    torch.set_rng_state(state)
    assert next_seed() == more[0]
    torch.rand(1)
    assert next_seed() != more[1]  # it moves with torch's
    assert len({*begun, *more, *other}) == 9


def test_seeds_do_not_repeat() -> None:
    seeds = [next_seed() for _ in range(5000)]
    assert len(set(seeds)) > 4995  # of 2^31, five thousand hold a pair once in 170 times
    bits = torch.tensor(seeds)[:, None] >> torch.arange(31) & 1
    assert (bits.double().mean(0) - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("backend", ["c", "plain"])
def test_what_is_computed_again_has_the_same_noise(reentrant: bool, backend: Any) -> None:
    module = limen.RReLU().train()
    x = (-torch.rand(3, 50) - 0.5).requires_grad_()
    with limen.use_backend(backend):
        first, second = (checkpoint(lambda x: module(module(x)), x, use_reentrant=reentrant) for _ in range(2))
        module(x)
        for y in (second, first):  # back in another order, and after other noise
            (gradient,) = torch.autograd.grad(y.sum(), x) if not reentrant else (grad_of(y, x),)
            torch.testing.assert_close(gradient, (y / x).detach())
    assert not torch.equal(first, second)


def grad_of(y: Tensor, x: Tensor) -> Tensor:
    x.grad = None
    y.sum().backward()
    assert x.grad is not None
    return x.grad


def test_samples_of_vmap_as_randomness_says() -> None:
    module, x = limen.RReLU().train(), -torch.ones(2, 50)
    same, different = (torch.func.vmap(module, randomness=how)(x) for how in ("same", "different"))
    assert torch.equal(*same)
    assert not torch.equal(*different)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        torch.func.vmap(module)(x)


def test_a_program_written_down_holds_torchs_operator() -> None:
    module, x = limen.RReLU().train(), -torch.ones(2, 50)
    program = torch.export.export(module, (x,))
    assert "rand_like" in program.graph_module.code
    assert "limen" not in program.graph_module.code
    assert module(x.to("meta")).shape == x.shape
