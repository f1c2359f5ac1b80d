"""Fitting an activation to the function it replaces, and refreshing batch statistics."""

from __future__ import annotations

import copy
import functools
import itertools
import math

import pytest
import torch
from helpers import KEEPING_SHAPE, LEARNING, thoroughly
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

import limen
from limen.errors import DtypeError, LimenError, SampleError, ShapeError

TARGETS = {"relu": F.relu, "gelu": F.gelu, "identity": lambda x: x, "tanh": torch.tanh}
LEARNING = tuple(name for name in LEARNING if name in KEEPING_SHAPE)


def error(activation, target, samples):
    """The relative root mean square error, computed apart."""
    double = samples.double()
    with torch.no_grad():
        wanted = target(double)
        found = activation.to(torch.float64).eval()(double)
    return math.sqrt(float((found - wanted).square().mean() / wanted.square().mean()))


@pytest.mark.parametrize(
    ("name", "target"),
    thoroughly(
        itertools.product(LEARNING, TARGETS),
        usual=[(name, target) for name in LEARNING for target in TARGETS if name == "asau" or target == "relu"],
    ),
)
def test_fitting_never_makes_it_worse_and_reports_what_is_true(name, target):
    samples = torch.randn(40, 60)
    activation = limen.create(name)
    before = error(limen.create(name), TARGETS[target], samples)
    fit = limen.fit_(activation, TARGETS[target], samples, steps=4)  # of AdAct 50 take seconds
    assert fit.before == pytest.approx(before, rel=1e-6, abs=1e-6)
    assert fit.after == pytest.approx(error(activation, TARGETS[target], samples), rel=1e-6, abs=1e-6)
    assert fit.after <= fit.before
    assert all(p.isfinite().all() for p in activation.parameters())


@pytest.mark.parametrize("name", thoroughly(LEARNING, usual=("asau", "apalu", "ash", "swish")))
def test_a_function_of_the_family_is_found(name):
    """Another member of the same family, from whose parameters the start is some way off."""
    target = limen.create(name).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.mul_(1 + 0.5 * torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype))
    samples = torch.randn(100, 50, dtype=torch.float64)
    fit = limen.fit_(limen.create(name), target, samples)
    assert fit.after < 2e-3, fit


@pytest.mark.parametrize("name", [n for n in KEEPING_SHAPE if n not in LEARNING])
def test_without_parameters_there_is_only_an_error_to_report(name):
    fit = limen.fit_(limen.create(name), F.silu, torch.randn(20, 30))
    assert fit.before == fit.after
    assert (fit.before < 1e-6) == (name == "silu")


@functools.cache
def fitted_to_relu(spec):
    """The activation in evaluation mode, which no test may change, its fit, and what it was fitted over."""
    activation, samples = limen.create(spec).eval(), torch.randn(1000)
    return activation, limen.fit_(activation, F.relu, samples), samples


@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        ("asau:a=0", 0.011),
        ("prelu", 2e-6),
        ("adact", 0.003),
        *(pytest.param(spec, 0.011, marks=pytest.mark.thorough) for spec in ("asau:learned=true", "acon", "swish")),
    ],
)
def test_relu_is_reached_as_nearly_as_leaves_something_to_learn(spec, limit):
    activation, fit, _ = fitted_to_relu(spec)
    assert fit.after < limit
    assert all(p.abs().max() < 60 for p in activation.parameters())


@pytest.mark.parametrize("spec", thoroughly(["asau:a=0", "acon", "swish", "adact"], usual=("asau:a=0", "adact")))
def test_training_goes_on_from_a_fit_to_relu(spec):
    """Every parameter moves, and the loss falls, when the best function is no longer ReLU."""
    fitted, _, samples = fitted_to_relu(spec)
    activation, x = copy.deepcopy(fitted), samples
    start = [p.detach().clone() for p in activation.parameters()]
    optimiser = torch.optim.Adam(activation.parameters(), 0.05)
    losses = []
    for _ in range(600):
        optimiser.zero_grad()
        loss = F.mse_loss(activation(x), F.silu(x))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    assert all(not torch.equal(p, q) for p, q in zip(start, activation.parameters(), strict=True))


def test_the_scale_of_the_samples_does_not_matter():
    """ReLU has no scale, so the fit on values a hundred times smaller is as near."""
    for scale in (1e-2, 1.0, 1e2):
        fit = limen.fit_(limen.Swish(), F.relu, scale * torch.randn(5000))
        assert fit.after < 0.011, scale


@pytest.mark.parametrize("channel_dim", thoroughly([1, -1, 0], usual=[1]))
@pytest.mark.parametrize("name", thoroughly(["swish", "asau", "adact", "apalu", "ash"], usual=("asau", "adact")))
def test_each_channel_is_fitted_to_its_own_function(name, channel_dim):
    slopes = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    few = {"candidates": ("relu", "silu", "elu")} if name == "adact" else {}  # each takes its time
    shape = [20, 15, 10]
    shape[channel_dim] = 3
    samples = torch.randn(shape, dtype=torch.float64)
    view = [1, 1, 1]
    view[channel_dim] = 3

    def target(x):
        return x * torch.sigmoid(slopes.view(view) * x)

    activation = limen.create(name, num_parameters=3, channel_dim=channel_dim, **few)
    shared = limen.fit_(limen.create(name, **few), target, samples, steps=12)
    own = limen.fit_(activation, target, samples, steps=12)
    assert own.after <= shared.after + 1e-9
    if name == "swish":
        torch.testing.assert_close(activation.beta.double(), slopes, rtol=1e-3, atol=0)


def test_a_dead_channel_keeps_its_parameters():
    samples = torch.randn(50, 3, 8)
    samples[:, 1] = 0.0
    activation = limen.Swish(beta=2.0, num_parameters=3)
    fit = limen.fit_(activation, F.silu, samples)
    assert fit.after < 1e-6
    assert activation.beta.tolist() == pytest.approx([1, 2, 1], abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_everything_else_is_kept(dtype):
    activation = limen.ASAU(dtype=dtype)
    activation.beta.requires_grad_(False)
    parameters = list(activation.parameters())
    state = torch.get_rng_state()
    fit = limen.fit_(activation, F.relu, torch.randn(2000, generator=torch.Generator().manual_seed(0)).to(dtype))
    assert fit.after < 0.1 < fit.before
    assert torch.equal(state, torch.get_rng_state())
    assert activation.training
    assert [id(p) for p in parameters] == [id(p) for p in activation.parameters()]
    assert {p.dtype for p in parameters} == {dtype}
    assert [p.requires_grad for p in parameters] == [True, False]
    assert all(p.grad is None for p in parameters)
    assert activation.a.item() == pytest.approx(0.01, rel=1e-2)


def test_an_exact_start_is_left_alone():
    activation = limen.ACON(p1=1.3, p2=0.2, beta=0.7)
    twin = limen.ACON(p1=1.3, p2=0.2, beta=0.7)
    before = [p.detach().clone() for p in activation.parameters()]
    limen.fit_(activation, twin, torch.randn(1000))
    for old, new in zip(before, activation.parameters(), strict=True):
        torch.testing.assert_close(old, new, rtol=1e-5, atol=1e-6)


def test_the_better_basin_is_found_from_the_wrong_side():
    """From β < 0, x·σ(βx) → min(x, 0); the way to SiLU leads over a hill."""
    activation = limen.Swish(beta=-6.0)
    assert limen.fit_(activation, F.silu, torch.randn(4000)).after < 1e-4
    assert activation.beta.item() == pytest.approx(1.0, abs=1e-3)


class Bump(nn.Module):
    """Somebody's own module, with parameters of any shape and no declared rules."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.2))
        self.weights = nn.Parameter(torch.full((2, 1), 0.1))

    def forward(self, x):
        return self.scale * x + self.weights[0] * torch.tanh(x) + self.weights[1] * x.abs()


class Rising(nn.Module):
    """A constraint on a parameter, as torch.nn.utils.parametrize puts it."""

    def forward(self, x):
        return F.softplus(x)


def test_modules_of_any_kind():
    samples = torch.randn(300, 5)
    assert limen.fit_(Bump(), F.relu, samples).after < 1e-4
    assert limen.fit_(nn.PReLU(5), F.relu, samples).after < 1e-6
    constrained = limen.Swish()
    parametrize.register_parametrization(constrained, "beta", Rising())
    assert limen.fit_(constrained, F.silu, samples).after < 1e-4
    assert limen.fit_(nn.Sequential(nn.PReLU(), limen.Swish()), F.silu, samples).after < 1e-3
    assert limen.fit_(nn.ReLU(inplace=True), nn.ReLU(inplace=True), samples) == limen.Fit(0.0, 0.0)


def test_a_mixture_of_channels_with_a_parameter_shared_by_all():
    mixture = limen.AdAct((limen.PReLU(), "silu"), num_parameters=3)
    slopes = torch.tensor([0.0, 0.1, 0.2]).view(3, 1)
    fit = limen.fit_(mixture, lambda x: torch.where(x > 0, x, slopes * x), torch.randn(200, 3, 10))
    assert fit.after < fit.before / 2


def test_hooks_see_nothing_of_the_search():
    seen = []
    activation = limen.Swish()
    activation.register_forward_hook(lambda *arguments: seen.append(arguments))
    limen.fit_(activation, F.relu, torch.randn(100))
    assert not seen


def test_a_default_device_elsewhere_changes_nothing():
    activation, samples = limen.Swish(), torch.randn(100)
    with torch.device("meta"):
        assert limen.fit_(activation, F.silu, samples).after < 1e-6
        assert limen.gain("relu") == pytest.approx(math.sqrt(2))


def test_targets_may_work_in_place_and_samples_stay():
    samples = torch.randn(500)
    kept = samples.clone()
    limen.fit_(limen.PReLU(), nn.ReLU(inplace=True), samples)
    assert torch.equal(samples, kept)


def test_a_target_of_zeros_is_measured_against_the_samples():
    samples = -torch.rand(1000) - 0.5
    fit = limen.fit_(limen.PReLU(0.5), F.relu, samples)
    assert fit.before == pytest.approx(0.5)
    assert fit.after < 1e-6


def test_many_samples_are_fitted_in_part_and_measured_in_whole():
    samples = torch.randn(30, 64, 32, 32)
    activation = limen.Swish(num_parameters=64)
    fit = limen.fit_(activation, F.gelu, samples)
    assert fit.after == pytest.approx(error(activation, F.gelu, samples), rel=1e-6)
    assert fit.after < 0.012


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(0, 3), "no samples"),
        (torch.ones(10), "all 10 samples are 1"),
        (torch.tensor([1.0, math.nan, 2.0]), "1 of 3 samples are NaN or infinite"),
        (torch.tensor([1.0, math.inf]), "1 of 2 samples are NaN or infinite"),
    ],
)
def test_samples_that_determine_nothing(samples, message):
    activation = limen.ASAU()
    with pytest.raises(SampleError, match=message):
        limen.fit_(activation, F.relu, samples)
    assert activation.beta.item() == 1.0


def test_other_misuse():
    with pytest.raises(DtypeError, match="int64"):
        limen.fit_(limen.ASAU(), F.relu, torch.arange(5))
    with pytest.raises(ShapeError, match="target"):
        limen.fit_(limen.ASAU(), lambda x: x[:1], torch.randn(5))
    with pytest.raises(ShapeError, match="Maxout"):
        limen.fit_(limen.Maxout(), F.relu, torch.randn(5, 4))
    with pytest.raises(SampleError, match="target is NaN"):
        limen.fit_(limen.ASAU(), torch.log, torch.randn(50))
    with pytest.raises(ShapeError, match="channels"):
        limen.fit_(limen.ASAU(num_parameters=3), F.relu, torch.randn(5, 4))


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 8),
        nn.BatchNorm1d(8, momentum=0.3),
    )  # fmt: skip


def test_batch_statistics_are_the_mean_over_the_batches():
    net = network().train()
    net[3].eval()
    batches = [torch.randn(16, 1, 6, 6) + i for i in range(3)]
    wanted = torch.stack([net[0](batch).mean((0, 2, 3)) for batch in batches]).mean(0)
    assert limen.reestimate_batch_norm_(net, batches) == 2
    torch.testing.assert_close(net[1].running_mean, wanted.detach())
    assert (net[1].momentum, net[6].momentum) == (0.1, 0.3)
    assert [m.training for m in net] == [True, True, True, False, True, True, True]
    again = [buffer.clone() for buffer in net.buffers()]
    limen.reestimate_batch_norm_(net, batches)
    for old, new in zip(again, net.buffers(), strict=True):
        torch.testing.assert_close(old, new)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x, "labels"), lambda x: [x], lambda x: {"input": x}])
def test_batches_as_loaders_give_them(wrap):
    net = network()
    assert limen.reestimate_batch_norm_(net, (wrap(torch.randn(8, 1, 6, 6)) for _ in range(2))) == 2


def test_statistics_are_kept_where_nothing_arrived_or_something_failed():
    net = network()
    net.add_module("unused", nn.ModuleList([nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False)]))
    net.forward = lambda x: net[1](net[0](x))
    net.unused[0].running_mean.fill_(5.0)
    assert limen.reestimate_batch_norm_(net, [torch.randn(8, 1, 6, 6)]) == 1
    assert net.unused[0].running_mean.tolist() == [5.0] * 3
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(RuntimeError):
        limen.reestimate_batch_norm_(net, [torch.randn(8, 1, 6, 6), torch.randn(8, 2, 6, 6)])
    with pytest.raises(SampleError, match="no batch"):
        limen.reestimate_batch_norm_(net, [])
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net[1].momentum == 0.1


def test_errors_are_of_the_family():
    assert issubclass(SampleError, LimenError)
    assert issubclass(SampleError, ValueError)
