"""Special cases and limits that the mathematics promises."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from helpers import BUILT_IN, activation, sample_input
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import limen
from limen.formula import Context, mean, std

X = torch.linspace(-50, 50, 4001, dtype=torch.float64)


def f64(name: str, **named: object) -> limen.Activation:
    return activation(name, dtype=torch.float64, **named)


def assert_same(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual.detach(), expected.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", BUILT_IN)
def test_baselines_equal_torch(name):
    # torch's softplus is linear above 20, which is off by 2e-9 there.
    assert_same(f64(name)(X), BUILT_IN[name].double()(X), 3e-9 if name in ("mish", "softplus") else 1e-12)


def test_gelu_approximation_equals_torch():
    assert_same(f64("gelu:approximate=tanh")(X), F.gelu(X, approximate="tanh"))


class TestASAU:
    def test_is_mish(self):
        assert_same(f64("asau:a=0,b=1")(X), f64("mish")(X), 4e-15)

    @pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (0.01, 1.0), (0.7, -0.3), (-1.0, -2.0)])
    def test_tends_to_the_larger_line_as_beta_grows(self, a, b):
        for beta in (10.0, 1000.0):
            error = (f64("asau", a=a, b=b, beta=beta)(X) - torch.maximum(a * X, b * X)).abs().max()
            assert error <= 0.30885 / beta
            if beta == 10.0:  # at 1000 the grid is too coarse to meet the largest error
                assert error >= 0.25 / beta

    def test_tends_to_the_smaller_line_for_negative_beta(self):
        error = (f64("asau:a=0.2,beta=-1000")(X) - torch.minimum(0.2 * X, X)).abs().max()
        assert error < 1e-3

    def test_without_bend_it_is_a_line(self):
        assert_same(f64("asau:beta=0")(X), (0.01 + 0.99 * math.tanh(math.log(2))) * X)
        assert torch.equal(f64("asau:alpha=0")(X), 0.01 * X)
        assert torch.equal(f64("asau:a=0.3,b=0.3")(X), 0.3 * X)

    def test_large_alpha_gives_b_times_x(self):
        near = X[X.abs() < 5]
        assert_same(f64("asau:alpha=1e6")(near), near)

    @given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(0.2, 3))
    def test_beta_sets_the_scale_only(self, x, beta, alpha):
        at = torch.tensor([x], dtype=torch.float64)
        scaled = f64("asau", alpha=alpha)(beta * at) / beta
        assert_same(f64("asau", alpha=alpha, beta=beta)(at), scaled)

    def test_known_minimum_at_the_defaults(self):
        # Its place was computed to 6 digits, so the value is flat there to 12.
        assert f64("asau")(torch.tensor([-1.243865], dtype=torch.float64)).item() == pytest.approx(-0.321083, abs=1e-6)


class TestAPALU:
    @pytest.mark.parametrize("options", [{}, {"smooth": True}, {"positive": True}])
    def test_slopes_at_zero(self, options):
        module = limen.APALU(dtype=torch.float64, **options)
        x = torch.tensor([0.0, -1e-300], dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(module(x).sum(), x)
        left = 0.825 if options.get("smooth") else 0.065
        assert_same(slope, torch.tensor([0.825, left], dtype=torch.float64))

    def test_smooth_has_no_parameter_b_and_follows_a(self):
        module = limen.APALU(smooth=True)
        assert list(dict(module.named_parameters())) == ["a"]
        with torch.no_grad():
            module.a.fill_(2.0)
        assert module.b.item() == 3.0

    def test_positive_stays_positive_whatever_is_learned(self):
        module = limen.APALU(positive=True)
        assert module.a.item() == pytest.approx(0.55)
        assert module.b.item() == pytest.approx(0.065)
        with torch.no_grad():
            module.rho_a.fill_(-30.0)
        assert module.a.item() > 0
        with pytest.raises(limen.activations.registry.SpecError, match="a > 0 and b > 0"):
            limen.APALU(a=-1.0, positive=True)

    def test_each_branch_has_its_own_parameter(self):
        module = limen.APALU()
        for x, zero in [(2.0, "b"), (-2.0, "a")]:
            module.zero_grad()
            module(torch.tensor([x])).sum().backward()
            assert getattr(module, zero).grad.item() == 0.0

    def test_asymptotes(self):
        y = f64("apalu")(torch.tensor([1e6, -1e6, math.inf, -math.inf], dtype=torch.float64))
        assert_same(y, torch.tensor([1.1e6, -0.065, math.inf, -0.065], dtype=torch.float64))

    @pytest.mark.parametrize("x", [100.0, -100.0, 1e38, -1e38])
    def test_no_nan_from_the_branch_not_taken(self, x):
        at = torch.tensor([x], requires_grad=True)
        module = limen.APALU()
        module(at).sum().backward()
        assert at.grad.isfinite().all()
        assert module.a.grad.isfinite().all()
        assert module.b.grad.isfinite().all()


class TestASH:
    def test_without_threshold_on_a_centred_sample_it_is_swish(self):
        x = sample_input(5, 40)
        x = x - x.mean(1, keepdim=True)
        assert_same(f64("ash:z_k=0,alpha=0.5")(x), F.silu(x))
        assert_same(f64("ash:z_k=0")(x), f64("swish:beta=2")(x))

    def test_half_of_x_without_steepness_and_for_single_values(self):
        x = sample_input(6, 9)
        assert torch.equal(f64("ash:alpha=0")(x), x / 2)
        single = sample_input(7, 1)
        assert torch.equal(f64("ash:z_k=2,alpha=3")(single), single / 2)

    def test_large_alpha_is_the_hard_version(self):
        x = sample_input(4, 100)
        z = limen.percentile_to_z(20.0)
        assert_same(f64("ash", z_k=z, alpha=1e6)(x), f64("hard_ash:percentile=20")(x), 1e-9)

    @given(st.floats(0.1, 10), st.floats(-2, 2), st.floats(0.1, 3))
    def test_scale_moves_into_alpha(self, c, z, alpha):
        x = sample_input(3, 17)
        assert_same(f64("ash", z_k=z, alpha=alpha)(c * x), c * f64("ash", z_k=z, alpha=c * alpha)(x), 1e-10)

    def test_gate_ignores_a_shift(self):
        x = sample_input(3, 17)
        gate = f64("ash")(x) / x
        assert_same(f64("ash")(x + 5), (x + 5) * gate)

    def test_samples_do_not_see_each_other(self):
        x = sample_input(8, 3, 4)
        for name in ("ash", "leaky_ash", "fixed_ash", "hard_ash", "top_percentile"):
            assert_same(f64(name)(x)[2:3], f64(name)(x[2:3]))

    def test_permuting_a_sample_permutes_the_output(self):
        x, order = sample_input(4, 30), torch.randperm(30)
        assert_same(f64("ash")(x[:, order]), f64("ash")(x)[:, order])

    def test_extreme_thresholds(self):
        x = sample_input(3, 20)
        assert f64("ash:z_k=1e4")(x).abs().max() < 1e-12
        assert_same(f64("ash:z_k=-1e4")(x), x)

    @pytest.mark.parametrize("name", ["ash", "ash:z_k=0", "leaky_ash", "fixed_ash:percentile=20"])
    def test_constant_sample_has_finite_gradients(self, name):
        module = limen.create(name, dtype=torch.float64)
        x = torch.full((2, 5), 3.0, dtype=torch.float64, requires_grad=True)
        y = module(x)
        gradients = torch.autograd.grad(y.sum(), [x, *module.parameters()], create_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
        second = torch.autograd.grad(gradients[0].pow(2).sum(), x)[0]
        assert second.isfinite().all()
        if name.startswith("ash"):
            assert_same(y, x / 2)
            # g(s + w) - G/N with every w equal: the slope is the gate alone, and z has no slope.
            assert_same(gradients[0], torch.full_like(x, 0.5))
            assert gradients[1].item() == 0.0

    @pytest.mark.parametrize("context", ["sample", "channel", "token"])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
    def test_constant_sample_is_its_mean_exactly(self, dtype, context):
        """By torch's operators as by the kernels, though a sum of many equal numbers is not a multiple of them."""
        largest = torch.finfo(dtype).max
        for shape, value in itertools.product([(2, 1, 1), (2, 3, 10), (1, 2, 8184)], [0.1, 1 / 3, -7.7, largest]):
            x = torch.full(shape, value, dtype=dtype, requires_grad=True)
            with limen.use_backend("plain"):
                y = limen.HardASH(context=context)(x)
            assert torch.equal(y, x)
            work = x.detach().to(torch.float64 if dtype == torch.float64 else torch.float32).requires_grad_()
            axes = Context(context)
            assert torch.equal(mean(work, axes).expand_as(work), work)
            deviation = std(work, axes)
            assert not deviation.any()
            assert not torch.autograd.grad(deviation.sum(), work)[0].any()
            level = torch.autograd.grad(mean(work, axes).sum(), work)[0]
            torch.testing.assert_close(level * (work.numel() / deviation.numel()), torch.ones_like(work))

    def test_contexts_see_their_own_axes(self):
        x = sample_input(2, 3, 4, 5)
        by_channel = f64("ash:context=channel")(x)
        by_token = f64("ash:context=token")(x)
        assert_same(by_channel[1:2, 2:3], f64("ash")(x[1:2, 2:3]))
        assert_same(by_token[0, 1, 2], f64("ash")(x[0, 1, 2][None])[0])
        last = limen.ASH(context="channel", channel_dim=-1, dtype=torch.float64)(x.movedim(1, -1))
        assert_same(last.movedim(-1, 1), by_channel)

    def test_normal_input_has_the_known_moments(self):
        x = torch.randn(1, 400_000, dtype=torch.float64)
        y = f64("ash")(x)
        assert y.mean().item() == pytest.approx(0.302853, abs=5e-3)
        assert y.pow(2).mean().item() == pytest.approx(0.439351, abs=1e-2)

    def test_half_precision_survives_squares_beyond_its_range(self):
        x = torch.tensor([[-300.0, 300.0, 100.0]], dtype=torch.float16)
        assert limen.ASH()(x).isfinite().all()

    def test_a_nan_or_infinity_spoils_its_own_sample_only(self):
        x = sample_input(3, 6)
        x[0, 2], x[1, 3] = math.nan, math.inf
        y = f64("ash")(x)
        assert y[0].isnan().all()
        assert y[1].isnan().all()
        assert y[2].isfinite().all()
        assert f64("hard_ash")(x)[0].isnan().all()


class TestPercentiles:
    @pytest.mark.parametrize(("k", "z"), [(2.5, 1.959964), (10, 1.281552), (50, 0.0), (90, -1.281552)])
    def test_known_pairs(self, k, z):
        assert limen.percentile_to_z(k) == pytest.approx(z, abs=1e-6)
        assert limen.z_to_percentile(z) == pytest.approx(k, abs=1e-4)

    @given(st.floats(1e-6, 99.9))
    def test_there_and_back(self, k):
        assert limen.z_to_percentile(limen.percentile_to_z(k)) == pytest.approx(k, rel=1e-9)

    @pytest.mark.parametrize("k", [0.0, 100.0, -3.0, math.nan])
    def test_refuses_what_has_no_threshold(self, k):
        with pytest.raises(ValueError, match="between 0 and 100"):
            limen.percentile_to_z(k)

    def test_start_value_of_the_code(self):
        assert limen.ASH(dtype=torch.float64).percentile.item() == pytest.approx(49.96, abs=5e-3)

    @pytest.mark.thorough
    def test_kept_fraction_on_normal_input(self):
        x = torch.randn(1, 1_000_000)
        for k in (2.5, 10, 50, 90):
            assert (limen.HardASH(k)(x) != 0).float().mean().item() == pytest.approx(k / 100, abs=2e-3)


class TestTopPercentile:
    @given(st.integers(1, 60), st.floats(0, 100))
    def test_keeps_exactly_the_largest(self, n, percentile):
        x = torch.randperm(n).double()[None] + 1
        kept = int(round(percentile * n / 100, 9))
        y = limen.TopPercentile(percentile)(x)
        expected = torch.where(x > n - kept, x, 0.0)
        assert torch.equal(y, expected)

    def test_ties_with_the_last_kept_are_kept(self):
        assert limen.TopPercentile(25.0)(torch.tensor([[2.0, 2.0, 1.0, 1.0]])).tolist() == [[2.0, 2.0, 0.0, 0.0]]

    def test_gradient_passes_where_kept(self):
        x = torch.tensor([[1.0, 4.0, 3.0, 2.0]], requires_grad=True)
        limen.TopPercentile(50.0)(x).sum().backward()
        assert x.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]]

    def test_contexts(self):
        x = sample_input(2, 3, 4, 5)
        y = limen.TopPercentile(50.0, context="channel")(x)
        assert_same(y[1:2, 2:3], limen.TopPercentile(50.0)(x[1:2, 2:3]))


class TestAdAct:
    def test_has_eight_parameters_in_the_papers_form(self):
        assert sum(p.numel() for p in limen.AdAct().parameters()) == 8

    @pytest.mark.parametrize("index", range(7))
    def test_one_dominant_weight_is_that_activation(self, index):
        module = f64("adact")
        with torch.no_grad():
            module.logits[index] = 800.0
        assert module.weights[index] == 1.0
        assert torch.equal(module(X), module.candidates[index](X))

    def test_equal_weights_are_the_mean(self):
        module = f64("adact")
        expected = torch.stack([candidate(X) for candidate in module.candidates]).mean(0)
        assert_same(module(X), expected)

    def test_a_constant_added_to_the_logits_changes_nothing(self):
        module = f64("adact")
        with torch.no_grad():
            module.logits.copy_(torch.randn(7))
            before = module(X)
            module.logits.add_(3.0)
        assert_same(module(X), before)

    def test_random_in_training_on_the_negative_side_only(self):
        module = limen.AdAct(dtype=torch.float64).train()
        first, second = module(X), module(X)
        assert torch.equal(first[X >= 0], second[X >= 0])
        negative = X < -1e-3
        assert (first[negative] != second[negative]).all()
        assert torch.equal(module.eval()(X), module(X))

    def test_training_output_averages_to_the_evaluation_output(self):
        module = limen.AdAct(dtype=torch.float64)
        x = torch.full((200_000,), -1.0, dtype=torch.float64)
        assert module.train()(x).mean().item() == pytest.approx(module.eval()(x[:1]).item(), abs=2e-4)

    def test_known_slope_and_moments(self):
        module = f64("adact")
        x = torch.tensor([-1000.0, -1001.0], dtype=torch.float64)
        y = module(x)
        assert (y[0] - y[1]).item() == pytest.approx(0.0698810, abs=1e-6)
        assert (y[0] - 0.06988095238 * x[0]).item() == pytest.approx(-1 / 7, abs=1e-6)
        normal = module(torch.randn(400_000, dtype=torch.float64))
        assert normal.mean().item() == pytest.approx(0.286881, abs=5e-3)
        assert normal.pow(2).mean().item() == pytest.approx(0.483929, abs=1e-2)

    def test_mixes_any_candidates(self):
        module = limen.AdAct(("ash", "asau:beta=2", limen.Swish(3.0), "prelu", "prelu"), dtype=torch.float64)
        x = sample_input(3, 8)
        expected = torch.stack([candidate(x) for candidate in module.candidates]).mean(0)
        assert_same(module(x), expected)
        assert module.names == ("ash", "asau:beta=2", "swish", "prelu", "prelu#2")

    def test_one_mixture_a_channel(self):
        module = limen.AdAct(("relu", "silu"), num_parameters=3, dtype=torch.float64)
        with torch.no_grad():
            module.logits[1, 0] = 800.0
        x = sample_input(2, 3, 5)
        assert module.weights.shape == (3, 2)
        assert torch.equal(module(x)[:, 1], torch.relu(x[:, 1]))
        assert_same(module(x)[:, 0], (torch.relu(x[:, 0]) + F.silu(x[:, 0])) / 2)

    @pytest.mark.parametrize(
        "candidates", [("relu",), ("relu", "maxout"), ("relu", "reluu"), ("relu", torch.nn.ReLU())]
    )
    def test_refuses_what_it_cannot_mix(self, candidates):
        with pytest.raises(limen.activations.registry.SpecError):
            limen.AdAct(candidates)


class TestRReLU:
    def test_evaluates_with_the_mean_slope(self):
        assert_same(f64("rrelu")(-torch.ones(1, dtype=torch.float64)), torch.tensor([-11 / 48], dtype=torch.float64))

    def test_trains_with_slopes_within_its_bounds(self):
        slopes = -limen.RReLU().train()(-torch.ones(100_000))
        assert slopes.min() >= 1 / 8
        assert slopes.max() <= 1 / 3
        assert slopes.mean().item() == pytest.approx(0.2292, abs=1e-3)
        assert slopes.std().item() == pytest.approx(0.0601, abs=1e-3)

    def test_equal_bounds_leave_nothing_to_chance(self):
        module = limen.RReLU(0.2, 0.2, dtype=torch.float64)
        assert_same(module.train()(X), module.eval()(X))


def test_maxout_takes_the_maximum_of_neighbouring_channels():
    x = sample_input(2, 6, 4)
    y = limen.Maxout(3)(x)
    assert torch.equal(y, torch.stack([x[:, :3].amax(1), x[:, 3:].amax(1)], 1))
    assert torch.equal(limen.Maxout(3, channel_dim=-1)(x.movedim(1, -1)).movedim(-1, 1), y)
    with pytest.raises(limen.activations.classic.ShapeError, match="divisible by 4"):
        limen.Maxout(4)(x)


def test_acon_is_a_smooth_maximum():
    assert_same(f64("acon:p1=1,p2=0.25,beta=1e4")(X), torch.maximum(X, 0.25 * X), 1e-4)
