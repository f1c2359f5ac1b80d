"""Gains against closed forms and torch's table; weights that keep the variance."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import KEEPING_SHAPE, activation, thoroughly
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError, SampleError, SpecError
from limen.quadrature import normal_mean


@pytest.mark.parametrize(
    ("function", "nonlinearity", "param"),
    [(nn.Identity(), "linear", None), (nn.ReLU(), "relu", None), ("relu", "relu", None)]
    + [(nn.LeakyReLU(s), "leaky_relu", s) for s in (0.01, 0.3, -0.5)]
    + [(limen.PReLU(s), "leaky_relu", s) for s in (0.25, 2.0)],
)
def test_torch_s_gains_where_they_are_expectations(function, nonlinearity, param):
    rel = 1e-6 if isinstance(function, limen.PReLU) else 1e-12  # PReLU's slope is stored in float32
    assert limen.gain(function) == pytest.approx(nn.init.calculate_gain(nonlinearity, param), rel=rel)


@pytest.mark.parametrize(
    ("spec", "second_moment"),
    [("apalu", 0.551317), ("asau", 0.453930), ("selu", 1.0), ("hard_ash", 0.5), ("top_percentile", 0.5)],
)
def test_second_moments_known_from_elsewhere(spec, second_moment):
    """APALU and ASAU: 40-digit values of the specification; SELU is made for 1; the others keep the upper half."""
    assert limen.gain(spec) == pytest.approx(second_moment**-0.5, rel=2e-5)


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_gains_against_a_million_random_values(name):
    made = activation(name)
    values = made(torch.randn(1, 1_000_000)).detach()
    assert limen.gain(made) == pytest.approx(float(values.square().mean()) ** -0.5, rel=5e-3)


@pytest.mark.parametrize("channel_dim", [1, -1, 0, 2])
def test_channels_count_alike(channel_dim):
    made = limen.Swish(num_parameters=3, channel_dim=channel_dim)
    with torch.no_grad():
        made.beta.copy_(torch.tensor([0.0, 1.0, 30.0]))
    alone = [limen.gain(limen.Swish(beta)) ** -2 for beta in (0.0, 1.0, 30.0)]
    assert limen.gain(made) == pytest.approx((sum(alone) / 3) ** -0.5, rel=1e-7)


@pytest.mark.parametrize("context", ["sample", "channel", "token"])
@pytest.mark.parametrize(
    "common", [{}, {"num_parameters": 64, "channel_dim": -1}, {"num_parameters": 4}, {"channel_dim": -1}]
)
def test_statistics_are_those_of_normal_samples(context, common):
    made = limen.ASH(context=context, **common)
    assert limen.gain(made) == pytest.approx(limen.gain("ash"), rel=5e-3 if context == "token" else 1e-4)


def test_the_learned_state_counts_and_stays():
    made = limen.ASAU(dtype=torch.bfloat16)
    with torch.no_grad():
        made.beta.fill_(64.0)
    assert limen.gain(made) == pytest.approx(math.sqrt(2), rel=1e-3)
    assert made.training
    assert made.beta.dtype == torch.bfloat16


def test_kinks_and_jumps_anywhere_do_not_cost_digits():
    for edge in (0.0, 0.1234567, -1.7, math.pi):
        tail = 0.5 * math.erfc(edge / math.sqrt(2))
        density = math.exp(-edge * edge / 2) / math.sqrt(2 * math.pi)
        found = normal_mean(lambda x, edge=edge: torch.where(x > edge, x * x, 0.0))
        assert found == pytest.approx(edge * density + tail, rel=1e-10)
        assert normal_mean(lambda x, edge=edge: (x > edge).double()) == pytest.approx(tail, rel=1e-10)
    assert normal_mean(lambda x: x**8) == pytest.approx(105, rel=1e-12)


@pytest.mark.parametrize("wrong", ["maxout", lambda x: x * 0, lambda x: torch.exp(x * x), lambda x: x / 0, "asua"])
def test_what_has_no_gain(wrong):
    with pytest.raises(SpecError):
        limen.gain(wrong)


def stack(make, depth=12, width=512):
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), make()]
    return nn.Sequential(*layers, nn.Linear(width, 64))


def variances(model, x):
    found = []
    for module in model:
        x = module(x)
        if isinstance(module, nn.Linear):
            found.append(float(x.detach().var()))
    return found


@pytest.mark.parametrize("by_example", [False, True])
@pytest.mark.parametrize(
    "spec",
    thoroughly(
        ["relu", "asau", "gelu", "elu", "swish", "apalu", "adact", "ash"], usual=("relu", "asau", "adact", "ash")
    ),
)
def test_variance_is_kept_through_a_deep_stack(spec, by_example):
    model = stack(lambda: limen.create(spec)).eval()
    x = torch.randn(256, 512)
    limen.init_(model, x if by_example else None)
    found = variances(model, x)
    assert found[0] == pytest.approx(1, abs=0.1)
    # Without an example the variance may wander by what a mean of 512 inputs leaves to chance.
    low, high = (0.75, 1.3) if by_example else (0.4, 2.2)
    assert all(low < variance < high for variance in found), found


class Residual(nn.Module):
    """What no order of registration tells: a functional activation, a sum, a pooling and a concatenation."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(32, 500)
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(16, 8, 4, stride=2)
        self.narrow = nn.Conv2d(8, 16, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = x + 3 * torch.tanh(self.middle(x))
        x = self.narrow(F.gelu(self.up(x)))
        return self.last(torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1))


def test_an_example_shows_what_the_order_cannot():
    model = Residual()
    outputs = {}
    for name, module in model.named_children():
        module.register_forward_hook(
            lambda m, i, o, name=name: outputs.__setitem__(name, float(o.detach().square().mean()))
        )
    example = torch.randn(32, 3, 12, 12) * 5
    gains = limen.init_(model, example)
    outputs.clear()
    model(example)
    assert set(gains) == {"first", "middle", "up", "narrow", "last"}
    # Borders are padded with zeros, and 16 channels leave something to chance.
    assert all(0.4 < moment < 2.0 for moment in outputs.values()), outputs
    assert not any(module.bias.any() for module in model.children())


def test_order_of_registration():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.Flatten(),
        nn.Linear(16, 8), limen.AdAct(("relu", "silu")), nn.Dropout(), nn.Linear(8, 4), nn.SiLU(), nn.LayerNorm(4),
        nn.Linear(4, 4),
    )  # fmt: skip
    gains = limen.init_(model)
    mixed = limen.gain(model[7])
    assert gains == pytest.approx({"0": 1.0, "4": math.sqrt(2), "6": 1.0, "9": mixed, "12": 1.0})
    assert float(model[0].weight.detach().std()) == pytest.approx(1 / 3, rel=0.4)


def test_one_activation_registered_twice_counts_twice():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(8, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 8))
    assert limen.init_(model) == pytest.approx({"0": 1.0, "2": math.sqrt(2), "4": math.sqrt(2)})


def test_what_init_leaves_alone():
    model = nn.Sequential(
        nn.Linear(8, 8), limen.ASAU(beta=3.0), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 8), nn.Linear(8, 8)
    )
    model[4].requires_grad_(False)
    model[5].weight = model[0].weight
    model[3].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    state = torch.get_rng_state()
    assert set(limen.init_(model, torch.randn(16, 8, generator=generator), generator=generator)) == {"0"}
    assert torch.equal(state, torch.get_rng_state())
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"0.weight", "0.bias", "5.weight"}
    assert [m.training for m in model] == [True, True, True, False, True, True]


def test_init_refuses_what_cannot_be_done():
    with pytest.raises(LimenError, match="lazy"):
        limen.init_(nn.Sequential(nn.LazyLinear(4)))
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(SampleError, match="layer '0'"):
        limen.init_(model, torch.zeros(3, 2))
    assert not model[0]._forward_pre_hooks


def test_parameters_by_role():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Linear(8, 2), limen.ASAU(), nn.LayerNorm(2)
    )
    groups = {
        group["role"]: group for group in limen.param_groups(model, 1e-3, 0.1, activation_lr=1e-2, decay_all=False)
    }
    counts = {role: len(group["params"]) for role, group in groups.items()}
    assert counts == {"weights": 2, "norms and biases": 6, "activations": 3}
    assert [groups[role]["weight_decay"] for role in groups] == [0.1, 0.0, 0.0]
    assert [groups[role]["lr"] for role in groups] == [1e-3, 1e-3, 1e-2]
    assert sum(counts.values()) == len(list(model.parameters()))
    together = limen.param_groups(model, 1e-3, 0.1)
    assert [len(group["params"]) for group in together] == [8, 3]
    torch.optim.AdamW(together).step()


@pytest.mark.parametrize("by_example", [False, True])
def test_weight_normed_layers_are_drawn(by_example):
    normed = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), normed(nn.Linear(64, 64)), nn.ReLU(), normed(nn.Linear(64, 8)))
    model[4].requires_grad_(False)
    before, frozen = model[2].weight.detach().clone(), model[4].weight.detach().clone()
    gains = limen.init_(model, torch.randn(256, 64) if by_example else None)
    assert set(gains) == {"0", "2"}
    assert not torch.equal(model[2].weight, before)
    assert torch.equal(model[4].weight, frozen)
    assert float(model[2].weight.detach().std()) == pytest.approx(gains["2"] / 8, rel=0.1)
    assert not model[2].bias.any()


@pytest.mark.parametrize("by_example", [False, True])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "norm", [nn.utils.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm]
)
def test_a_weight_that_cannot_be_drawn_is_refused_by_name(norm, by_example):
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), norm(nn.Linear(8, 8)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(LimenError, match="the weight of layer '2' is computed from other parameters"):
        limen.init_(model, torch.randn(16, 8) if by_example else None)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model[2].requires_grad_(False)
    assert set(limen.init_(model, torch.randn(16, 8) if by_example else None)) == {"0"}


@pytest.mark.parametrize("wrong", [nn.Softmax(-1), nn.LogSoftmax(1), nn.GLU()])
def test_what_weighs_values_against_one_another_has_no_gain(wrong):
    with pytest.raises(SpecError, match="no function of one number"):
        limen.gain(wrong)


def test_init_wants_a_module():
    with pytest.raises(LimenError, match="Module, and 'x' was given"):
        limen.init_("x")
