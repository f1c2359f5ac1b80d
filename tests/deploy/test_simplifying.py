"""Activations made built-in ones: what they become, that bounds hold, and that all comes back."""

from __future__ import annotations

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from helpers import ELEMENTWISE, perturbed, thoroughly
from torch import nn

import limen
from limen.deploy.approximations import Quotient, Rescaled, Table, proved
from limen.deploy.bounding import bound
from limen.deploy.candidates import FAMILIES, Candidate
from limen.deploy.fitting import least_squares
from limen.deploy.function import function_of
from limen.deploy.intervals import UnboundedError, enclose
from limen.deploy.report import Simplified, SimplifyReport
from limen.formula import exp, maximum, sigmoid, sqrt, step, where
from limen.formula.symbolic import apply, symbol

SLACK = 2e-6
"""What float32 rounds of values up to 10, in units of the functions' outputs."""


def ends(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_and_slopes_lie_in_their_enclosures(name):
    torch.manual_seed(0)
    function = function_of(perturbed(name), -6.0, 6.0)
    low = 12 * torch.rand(200, dtype=torch.float64) - 6
    high = low + torch.rand(200, dtype=torch.float64) ** 4
    found = enclose(function.expression, low, high, {})
    for share in (0.0, 0.3, 1.0):
        x = (low + share * (high - low)).requires_grad_()
        (y,) = function.at(x.detach())
        tiny = 1e-6
        slope = (function.at(x.detach() + tiny) - function.at(x.detach() - tiny))[0] / (2 * tiny)
        assert ((found.low - 1e-12 <= y) & (y <= found.high + 1e-12)).all()
        inside = (x - tiny > low) & (x + tiny < high) & ~found.jumps
        assert (found.slope_low - 1e-6 <= slope)[inside].all()
        assert (slope <= found.slope_high + 1e-6)[inside].all()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_expression_is_what_the_activation_computes(name):
    module = perturbed(name).double()
    function = function_of(module, -6.0, 6.0)
    torch.testing.assert_close(function.wanted[0], module(function.points).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family.make(1.0)).__name__)
def test_torchs_activations_are_what_their_formulas_say(family):
    x = torch.linspace(-9, 9, 91, dtype=torch.float64)
    number = sum(family.numbers) / 2 + 0.125
    torch.testing.assert_close(family.make(number)(x), family.formula(x, torch.tensor(number).double()) + 0 * x)


def test_a_bound_is_near_to_the_largest_value_and_never_below():
    x = symbol("x")
    for expression, largest in ((x * x - x, 6.0), (apply("sin", 3 * x), 1.0), (apply("cos", x), 1.0)):
        found = bound(expression, ends(-2.0), ends(2.0), {}, 10.0)
        assert 0.95 * largest <= found.reached <= largest * (1 + 1e-12)
        assert largest <= found.proved <= 1.06 * largest


def test_a_bound_is_as_near_to_a_small_value_of_steep_slopes():
    inner = 200 * symbol("x")
    found = bound(apply("sin", inner) * apply("cos", inner) / 2, ends(-1.0), ends(1.0), {}, 10.0)
    assert 0.249 <= found.reached <= 0.25 <= found.proved <= 0.265


def test_a_cosine_is_none_of_a_shifted_sine():
    x = symbol("x")
    found = bound(apply("cos", x) - 1, ends(-0.5), ends(0.5), {}, 10.0)
    assert 1 - math.cos(0.5) <= found.proved < 0.14


def test_columns_of_any_size_are_fitted():
    matrix = torch.tensor([[1e-20, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(least_squares(matrix, ends(3e-20, 4.0, 0.0)), ends(3.0, 4.0))


def test_jumps_are_bounded_where_a_slope_would_not():
    found = bound(step(symbol("x") - 0.1234), ends(-1.0), ends(1.0), {}, 10.0)
    assert 1 <= found.proved < 1.01
    far = bound(where(symbol("x") >= 1.9, 5.0, 0.0), ends(-2.0), ends(2.0), {}, 10.0)
    assert 5 <= far.proved < 5.1


def test_a_pole_is_not_bounded():
    assert bound(1 / symbol("x"), ends(-1.0), ends(1.0), {}, 10.0).proved == math.inf


def test_what_has_no_enclosure_is_named():
    with pytest.raises(UnboundedError, match="power of x"):
        enclose(2 ** symbol("x"), ends(0.0), ends(1.0), {})


class Spiked(limen.Activation):
    """The identity, with a spike so narrow that no point of a comparison meets it."""

    height = limen.Constant(0.5)

    @staticmethod
    def formula(x, height):
        return x + height * maximum(0, 1 - 1e5 * ((x - 0.70713) ** 2) ** 0.5)


def test_what_no_point_shows_is_found_by_the_proof():
    model = nn.Sequential(Spiked(), Spiked(0.01))
    function = function_of(model[0], -2.0, 2.0)
    assert function.apart(nn.Identity()) < 1e-9
    report = limen.simplify_(model, 0.1, ranges=(-2.0, 2.0))
    assert [site.path for site in report.sites] == ["1"]
    assert 0.0099 <= report.sites[0].bound <= 0.1
    found = proved(function, Candidate(nn.Identity(), symbol("x"), 0.0), 0.1)
    assert found.reached > 0.1 or found.proved > 0.1


def assert_bounds_hold(before, after, report):
    for site in report.sites:
        torch.manual_seed(0)
        x = site.low + (site.high - site.low) * torch.rand(4001, 4)
        old, new = before.get_submodule(site.path), after.get_submodule(site.path)
        with torch.no_grad():
            apart = (old(x).double() - new(x).double()).abs().max().item()
        size = max(1.0, abs(site.low), abs(site.high))
        assert apart <= site.bound + SLACK * size
        assert site.reached <= site.bound


CASES = [(name, how) for name in ELEMENTWISE for how in ("native", "polynomial", "rational", "table")]
USUAL = {("swish", "native"), ("asau", "rational"), ("snake", "polynomial"), ("dyt", "table")}


@pytest.mark.parametrize(("name", "how"), thoroughly(CASES, USUAL))
def test_no_input_in_the_range_differs_by_more_than_the_bound(name, how):
    model = nn.Sequential(perturbed(name))
    before = copy.deepcopy(model)
    report = limen.simplify_(model, 0.02, ranges=(-3.0, 3.5), otherwise=how)
    assert len(report.sites) + len(report.kept) == 1
    assert_bounds_hold(before, model, report)
    if (name, how) in USUAL:
        assert report.sites[0].kind == how, report


def test_a_slope_below_zero_may_be_steeper_than_above():
    prelu = limen.PReLU()
    with torch.no_grad():
        prelu.weight.fill_(1.25)
    model = nn.Sequential(prelu)
    limen.simplify_(model, 1e-3)
    assert isinstance(model[0], nn.LeakyReLU)
    assert model[0].negative_slope == 1.25


def test_what_equals_a_built_in_one_becomes_that_exactly():
    specs = {
        "relu": "ReLU", "prelu": "LeakyReLU", "rrelu": "LeakyReLU", "elu:alpha=0.7": "ELU", "gelu": "GELU",
        "acon": "SiLU", "asau:a=0": "Mish", "softplus:beta=2": "Softplus",
    }  # fmt: skip
    model = nn.Sequential(*map(limen.create, specs)).eval()
    before = copy.deepcopy(model)
    report = limen.simplify_(model, 1e-6)
    assert [(site.kind, site.bound) for site in report.sites] == [("built-in", 0.0)] * len(specs)
    assert [type(module).__name__ for module in model] == list(specs.values())
    assert_bounds_hold(before, model, report)


def test_a_mixture_that_has_chosen_becomes_what_it_chose():
    mixture = limen.AdAct(("silu", "relu", "mish"))
    mixture.logits.data.copy_(torch.tensor([9.0, 0.0, 0.0]))
    model = nn.Sequential(mixture)
    (site,) = limen.simplify_(model, 1e-3).sites
    assert type(model[0]) is nn.SiLU
    assert 1e-5 < site.bound < 1e-3


def by_channel(**named):
    prelu = limen.PReLU(num_parameters=3, **named)
    prelu.weight.data.copy_(torch.tensor([0.1, 0.2, 0.3]))
    return nn.Sequential(nn.Identity(), prelu)


def test_the_distance_to_channels_is_that_to_the_farthest():
    function = function_of(by_channel()[1], -1.0, 1.0)
    rows = torch.stack(
        [torch.where(function.points < 0, slope * function.points, function.points) for slope in (0.1, 0.3)]
    )
    farthest = -0.2 * function.points.min()
    torch.testing.assert_close(function.distances(rows), farthest.expand(2), rtol=1e-6, atol=1e-6)


def test_slopes_by_channel_become_those_of_torchs_prelu():
    model, x = by_channel(), torch.randn(2, 3, 4)
    y = model(x)
    (site,) = limen.simplify_(model, 1e-6, example_inputs=x).sites
    assert site.bound == 0
    assert torch.equal(model(x), y)
    groups, wide = by_channel(group_size=2), torch.randn(2, 6)
    y = groups(wide)
    assert len(limen.simplify_(groups, 1e-6, example_inputs=wide).sites) == 1
    assert torch.equal(groups(wide), y)


def test_channels_that_lie_elsewhere_than_torch_looks_stay():
    model = by_channel(channel_dim=-1)
    assert "differs by" in limen.simplify_(model, 1e-3, example_inputs=torch.randn(2, 4, 3)).kept[0].reason
    assert len(limen.simplify_(model, 1e-3, example_inputs=torch.randn(2, 3)).sites) == 1


def test_channels_that_are_all_near_to_one_built_in_become_it():
    swish = limen.Swish(num_parameters=3)
    swish.beta.data.copy_(torch.tensor([1.0, 1.001, 0.999]))
    model = nn.Sequential(swish)
    (site,) = limen.simplify_(model, 1e-2).sites
    assert site.after == "SiLU()"
    assert 1e-4 < site.reached <= site.bound <= 1e-2


def test_the_range_is_what_the_examples_bring():
    model = nn.Sequential(nn.Identity(), limen.Swish(beta=30.0))
    x = torch.tensor([[-0.5, 2.0, 7.0]])
    (kept,) = limen.simplify_(model, 1e-6, example_inputs=[x, 2 * x]).kept
    assert (kept.low, kept.high, kept.observed) == (-1.0, 14.0, True)
    (site,) = limen.simplify_(model, 1e-6, example_inputs=x.abs() + 2).sites
    assert (site.low, site.after) == (2.5, "Identity()")


def test_what_cannot_be_replaced_says_why():
    model = nn.ModuleDict({
        "statistics": limen.ASH(), "shape": limen.Maxout(), "glu": limen.GLU("asau"), "other": nn.ReLU(),
        "unknown": limen.AdAct(("ash", "relu")),
    })  # fmt: skip
    reasons = {site.path: site.reason for site in limen.simplify_(model, 1e-3).kept}
    assert reasons == {
        "statistics": "it takes statistics of its input",
        "shape": "it changes the shape of its input",
        "glu.activation": "GLU computes it with what stands beside it",
        "unknown": "it takes statistics of its input",
    }


def test_what_no_example_reaches_and_what_is_not_finite_stays():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle, self.still = limen.SiLU(), limen.SiLU(), limen.SiLU()

        def forward(self, x):
            return self.used(x / 0) + self.still(x * 0 + 1)

    reasons = [site.reason for site in limen.simplify_(Two(), 1e-3, example_inputs=torch.ones(2, 2)).kept]
    assert reasons == [
        "it receives values that are not finite",
        "no example input reaches it; give its range",
        "it receives one value only, 1; give its range",
    ]


def test_ranges_may_be_given_by_path():
    model = nn.Sequential(limen.ReLU(), limen.Swish(beta=40.0))
    report = limen.simplify_(model, 1e-3, ranges={"1": (3.0, 4.0)})
    assert [(site.low, site.high) for site in report.sites] == [(-8.0, 8.0), (3.0, 4.0)]
    with pytest.raises(limen.SpecError, match="'3', where the model has no activation"):
        limen.simplify_(model, 1e-3, ranges={"3": (0, 1)})


def test_undo_brings_back_the_very_objects_and_the_state():
    model = nn.Sequential(nn.Linear(4, 4), limen.Swish(), nn.Linear(4, 4), limen.ACON())
    model[3] = model[1]
    before, state = list(model), model.state_dict()
    y = model(torch.ones(2, 4))
    report = limen.simplify_(model, 1e-6)
    assert model[1] is model[3]
    assert list(report.swap.original_state(model.state_dict())) == list(state)
    model.load_state_dict(state)
    torch.testing.assert_close(model(torch.ones(2, 4)), y)
    report.undo()
    assert list(model) == before
    assert torch.equal(model(torch.ones(2, 4)), y)
    assert "1: Swish(beta=1) -> SiLU() (at most 0 apart on [-8, 8], given)" in str(report)


def test_a_range_is_a_given_one_unless_it_was_observed():
    site = Simplified("0", "ASAU()", "SiLU()", "native", -1.0, 1.0, bound=0.5)
    said = [str(SimplifyReport(1.0, [one])).splitlines()[1] for one in (site, replace(site, observed=True))]
    assert said == [f"  0: ASAU() -> SiLU() (at most 0.5 apart on [-1, 1], {how})" for how in ("given", "seen")]


@pytest.mark.parametrize("how", ["native", "polynomial", "rational", "table"])
def test_models_of_a_half_type_pickle_and_keep_their_type(how):
    model = nn.Sequential(limen.DyT(0.6)).half()
    (site,) = limen.simplify_(model, 0.02, ranges=(-2.0, 2.0), otherwise=how).sites
    assert site.kind == how
    x = torch.linspace(-2, 2, 33).half()
    y = model(x)
    assert y.dtype == torch.float16
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), y)


def test_outside_the_range_lines_go_on_and_tables_stay():
    quotient = Quotient((0.0, 1.0), (1.0,), -1.0, 1.0, (0.5, 2.0))
    assert quotient(torch.tensor([-3.0, 0.25, 2.0])).tolist() == [-2.0, 0.25, 3.0]
    table = Table(torch.arange(-128, 128).to(torch.int8), -1.0, 1.0, 1.0, 0.0)
    assert table(torch.tensor([-9.0, -1.0, 1.0, 9.0, math.nan])).tolist() == [-128, -128, 127, 127, -128]


def test_nothing_is_computed_that_adds_nothing():
    x = torch.randn(5)
    assert torch.equal(Rescaled(nn.SiLU(), 1, 1, 0, 0)(x), nn.SiLU()(x))
    torch.testing.assert_close(Rescaled(nn.SiLU(), 2.0, 3.0, 0.5, 1.0)(x), 3 * nn.SiLU()(2 * x) + 0.5 * x + 1)


def test_roots_and_exponentials_are_enclosed():
    x = symbol("x")
    found = enclose(sqrt(x) * exp(-x) * sigmoid(x) / x, ends(0.5), ends(0.75), {})
    middle = 0.625**-0.5 * math.exp(-0.625) / (1 + math.exp(-0.625))
    assert float(found.low) < middle < float(found.high) < 2 * middle


@pytest.mark.parametrize("wrong", [
    {"tolerance": 0}, {"tolerance": -1}, {"tolerance": "small"}, {"tolerance": math.nan}, {"tolerance": True},
    {"tolerance": math.inf},
    {"otherwise": "spline"}, {"ranges": (1, 1)}, {"ranges": (0, math.inf)}, {"ranges": 3}, {"ranges": {"0": "all"}},
])  # fmt: skip
def test_what_is_not_possible_is_refused(wrong):
    model = nn.Sequential(limen.Swish())
    with pytest.raises(limen.SpecError, match="is not possible"):
        limen.simplify_(model, **{"tolerance": 1e-3, **wrong})
    assert isinstance(model[0], limen.Swish)
