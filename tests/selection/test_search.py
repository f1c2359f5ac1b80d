"""Steering a search by mixtures: temperature, sampling, entropy, dropping, weights learned on held-out batches."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import limen
from limen.activations import weighting
from limen.errors import PlanError, SpecError
from limen.selection import (
    HeldoutWeights,
    add_entropy_gradient,
    cosine,
    drop_hopeless_,
    entropy,
    geometric,
    linear,
    sample_,
    set_temperature_,
)

PAPER = ("relu", "elu", "leaky_relu", "prelu", "rrelu", "silu", "mish")


def mixture(*logits: float, candidates: tuple[str, ...] = PAPER) -> limen.AdAct:
    made = limen.AdAct(candidates[: len(logits)])
    with torch.no_grad():
        made.logits.copy_(torch.tensor(logits))
    return made


def network(candidates: tuple[str, ...] = PAPER) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    limen.swap_(model, lambda: limen.AdAct(candidates))
    return model


def test_nothing_is_there_unless_asked_for():
    made = limen.AdAct()
    assert made.weighting is None
    assert list(made.state_dict()) == ["logits", "candidates.3.weight"]


def test_temperature_divides_the_logits():
    made = mixture(0.3, -0.2, 0.9)
    set_temperature_(made, 0.25)
    wanted = (torch.tensor([0.3, -0.2, 0.9]) / 0.25).softmax(0)
    assert torch.allclose(made.weights, wanted)
    x = torch.randn(64)
    y = sum(w * f(x) for w, f in zip(wanted, made.members, strict=True))
    assert torch.allclose(made(x), y, atol=1e-6)
    assert made.half().weighting.temperature.dtype == torch.float32
    for bad in (0, -1, math.nan, math.inf):
        with pytest.raises(SpecError, match="temperature"):
            set_temperature_(made, bad)
    with pytest.raises(PlanError, match="no mixture"):
        set_temperature_(nn.Linear(2, 2), 1.0)


def test_straight_through_is_one_hot_with_the_gradient_of_the_softmax():
    made = mixture(0.3, -0.2, 0.9, candidates=("relu", "silu", "mish"))
    x = torch.randn(64, dtype=torch.float64)
    made.double()
    sample_(made, "straight_through")
    y = made(x)
    assert torch.equal(y.detach(), made.candidates[2](x))
    y.square().sum().backward()
    weights = made.logits.detach().clone().requires_grad_(True)
    shares = torch.stack([f(x) for f in made.members])
    # The loss at the one-hot point, with the softmax's Jacobian.
    (torch.matmul(weights.softmax(0), shares) * (2 * y.detach())).sum().backward()
    assert torch.allclose(made.logits.grad, weights.grad)


def test_gumbel_draws_in_training_only():
    made = mixture(1.0, 0.0, 0.0)
    sample_(made, "gumbel")
    x = torch.randn(8)
    torch.manual_seed(1)
    first, second = made(x), made(x)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(made(x), first)
    made.eval()
    assert torch.equal(made(x), made(x))
    assert torch.allclose(made.weights, torch.tensor([1.0, 0.0, 0.0]).softmax(0))
    # How often a candidate wins the draw is its softmax share: Gumbel's property.
    sample_(made.train(), "gumbel_straight_through")
    wins = sum(made._softmax(sample=True).detach() for _ in range(4000)) / 4000
    assert torch.allclose(wins, torch.tensor([1.0, 0.0, 0.0]).softmax(0), atol=0.03)
    with pytest.raises(SpecError, match="no sampling"):
        sample_(made, "dice")
    sample_(made, "none")
    assert torch.equal(made(x), made(x))


def test_gumbel_noise_is_minus_the_logarithm_of_minus_the_logarithm_of_what_is_drawn(monkeypatch):
    drawn = torch.tensor([0.0, 0.5, 1 - 2**-24])
    monkeypatch.setattr(weighting, "noise_like", lambda *_: drawn)
    middle = drawn.double() + 2**-25
    noise = weighting._gumbel(torch.zeros(3))
    assert noise.isfinite().all()
    assert torch.allclose(noise.double(), -(-middle.log()).log(), rtol=1e-6)


def test_entropy_and_its_gradient():
    model = nn.Sequential(mixture(0.5, -0.3, 0.1), mixture(0.0, 0.0, 2.0))
    shares = torch.stack([m.weights for m in model])
    wanted = (-(shares * shares.log()).sum(1) / math.log(3)).mean()
    assert entropy(model).item() == pytest.approx(wanted.item(), abs=1e-6)
    by_channel = limen.AdAct(("relu", "silu"), num_parameters=3)
    with torch.no_grad():
        by_channel.logits.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]))
    own = by_channel.logits.softmax(1)
    assert entropy(by_channel).item() == pytest.approx((-(own * own.log()).sum(1) / math.log(2)).mean().item())
    add_entropy_gradient(model, 0.7)
    numeric = torch.zeros(3)
    step = 1e-3
    for index in range(3):
        for sign in (1, -1):
            moved = copy.deepcopy(model)
            with torch.no_grad():
                moved[0].logits[index] += sign * step
            numeric[index] += sign * 0.7 * entropy(moved).item() / (2 * step)
    assert torch.allclose(model[0].logits.grad, numeric, atol=2e-4)
    before = model[0].logits.grad.clone()
    add_entropy_gradient(model, 0.7)
    assert torch.allclose(model[0].logits.grad, 2 * before)
    optimiser = torch.optim.SGD(model.parameters(), lr=5.0)
    for _ in range(200):
        optimiser.zero_grad()
        add_entropy_gradient(model, 1.0)
        optimiser.step()
    assert entropy(model).item() < 0.05


def test_schedules_go_from_start_to_end():
    for make in (linear, geometric, cosine):
        schedule = make(2.0, 0.5)
        assert (schedule(0.0), schedule(1.0)) == pytest.approx((2.0, 0.5))
        assert (schedule(-1.0), schedule(3.0)) == pytest.approx((2.0, 0.5))
        values = [schedule(n / 20) for n in range(21)]
        assert values == sorted(values, reverse=True)
    with pytest.raises(SpecError, match="above 0"):
        geometric(1.0, 0.0)


def test_dropping_leaves_the_rest_as_it_is():
    made = mixture(2.0, -3.0, 1.0, -4.0, 0.0, 1.0, 2.0).eval()
    x = torch.randn(256)
    rest = ("relu", "leaky_relu", "rrelu", "silu", "mish")
    assert drop_hopeless_(made, 0.01) == {"": ("elu", "prelu")}
    assert made.weights[1] == made.weights[3] == 0
    assert made.weights.sum().item() == pytest.approx(1)
    kept = limen.AdAct(rest).eval()
    with torch.no_grad():
        kept.logits.copy_(made.logits[[0, 2, 4, 5, 6]])
    assert torch.allclose(made(x), kept(x), atol=1e-6)
    assert made._bound == kept._bound  # the very kernel of the smaller mixture
    assert drop_hopeless_(made, 0.01) == {}
    assert list(made.names) == list(PAPER)


def test_a_candidate_that_one_channel_needs_stays():
    made = limen.AdAct(("relu", "silu", "mish"), num_parameters=2)
    with torch.no_grad():
        made.logits.copy_(torch.tensor([[3.0, -3.0, 0.0], [-3.0, 3.0, 0.0]]))
    light = torch.tensor([3.0, -3.0, 0.0]).softmax(0)[2].item()  # of mish, in both channels
    assert drop_hopeless_(made, light * 0.999) == {}
    assert drop_hopeless_(made, light * 1.001) == {"": ("mish",)}


def test_dropped_parameters_stay_used():
    made = mixture(0.0, 0.0, 0.0, -9.0, 0.0)
    drop_hopeless_(made, 0.01)
    made(torch.randn(32)).sum().backward()
    assert made.candidates[3].weight.grad.item() == 0
    assert made.logits.grad[3] == 0
    assert made.logits.grad.abs().sum() > 0


def test_the_heaviest_candidate_always_stays():
    made = mixture(0.0, 0.1, 0.0)
    assert drop_hopeless_(made, 0.99) == {"": ("relu", "leaky_relu")}
    assert made.weights.tolist() == [0, 1, 0]
    x = torch.randn(8)
    assert torch.equal(made.eval()(x), made.candidates[1](x))
    with pytest.raises(SpecError, match="leaves none"):
        made.drop_("elu")
    with pytest.raises(SpecError, match="Did you mean 'silu'"):
        limen.AdAct().drop_("sliu")


def test_what_was_dropped_is_saved_and_loaded():
    made = mixture(2.0, -5.0, 1.0).eval()
    set_temperature_(made, 0.5)
    drop_hopeless_(made, 0.01)
    fresh = limen.AdAct(PAPER[:3]).eval()
    fresh.load_state_dict(made.state_dict())
    x = torch.randn(64)
    assert torch.equal(fresh(x), made(x))
    assert fresh._bound == made._bound
    twin = copy.deepcopy(made)
    assert torch.equal(twin(x), made(x))
    plain = mixture(0.5, 0.5, 0.5)
    made.load_state_dict(plain.state_dict())  # saved before there was any of it
    assert made.weighting is None
    assert torch.allclose(made.weights, torch.full((3,), 1 / 3))
    assert torch.equal(made(x), plain.eval()(x))


def test_a_searched_mixture_compiles_and_exports_its_plain_form():
    model = nn.Sequential(mixture(2.0, -5.0, 1.0))
    set_temperature_(model, 0.5)
    drop_hopeless_(model, 0.01)
    x = torch.randn(2, 8)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), model(x), atol=1e-6)


def test_heldout_batches_move_the_logits_only_there():
    model = network(("relu", "silu"))
    search = HeldoutWeights(model, lr=0.1)
    others = [p for p in model.parameters() if p.requires_grad]
    assert model[1].logits not in set(others)
    optimiser = torch.optim.Adam(limen.param_groups(model, 1e-3))
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(8, 4)).square().mean().backward()
    optimiser.step()
    assert torch.equal(model[1].logits, before["1.logits"])
    weights = model[0].weight.clone()
    optimiser.zero_grad()
    search.step(lambda: model(torch.randn(8, 4)).square().mean())
    assert not torch.equal(model[1].logits, before["1.logits"])
    assert torch.equal(model[0].weight, weights)
    assert model[0].weight.grad is model[1].logits.grad is None
    assert not model[1].logits.requires_grad
    again = HeldoutWeights(network(("relu", "silu")))
    again.load_state_dict(search.state_dict())


def train_in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = network()
    set_temperature_(model, 1.0)
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimiser = torch.optim.Adam(limen.param_groups(model, 1e-2, activation_lr=0.2))
    torch.manual_seed(rank)  # each process has its own batches
    dropped: list[str] = []
    for _ in range(60):
        x = torch.randn(32, 4)
        optimiser.zero_grad()
        (wrapped(x) - x.sum(1, keepdim=True).sin()).square().mean().backward()
        optimiser.step()
        dropped += [name for names in drop_hopeless_(model, 0.05).values() for name in names]
    found = {"state": model.state_dict(), "dropped": dropped, "heldout": heldout_in_process()}
    torch.save(found, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def heldout_in_process() -> torch.Tensor:
    model = network(("relu", "silu"))
    search = HeldoutWeights(model, lr=0.1)
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimiser = torch.optim.Adam(limen.param_groups(model, 1e-2))
    for _ in range(5):
        x = torch.randn(32, 4)
        optimiser.zero_grad()
        wrapped(x).square().mean().backward()
        optimiser.step()
        search.step(lambda x=x: (model(x) - 1).square().mean())
    return model[1].logits.detach()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_dropping_under_ddp_has_no_unused_parameters(tmp_path: Path):
    """Two processes with different batches: without find_unused_parameters, and the same network in both."""
    torch.multiprocessing.start_processes(train_in_process, (str(tmp_path),), nprocs=2, start_method="forkserver")
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["dropped"] == second["dropped"]
    assert "prelu" in first["dropped"]  # whose slope is the parameter that would be unused
    assert torch.equal(first["heldout"], second["heldout"])
    assert (first["heldout"] != 0).all()
    assert first["state"].keys() == second["state"].keys()
    assert all(torch.equal(value, second["state"][name]) for name, value in first["state"].items())


def test_a_one_hot_mixture_is_selected_by_its_soft_weights():
    model = nn.Sequential(nn.Linear(2, 2), mixture(0.2, 0.0))
    sample_(model, "straight_through")
    assert model[1].weights.tolist() == [1, 0]
    found = limen.select(model).sites[0]
    assert list(found.weights.values()) == pytest.approx(torch.tensor([0.2, 0.0]).softmax(0).tolist())
