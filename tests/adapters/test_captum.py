"""DeepLift's rule for every activation; with Captum itself where that is installed."""

from __future__ import annotations

import pytest
import torch
from helpers import ELEMENTWISE, KEEPING_SHAPE, library, perturbed
from torch import nn

import limen
from limen.adapters.captum import rescaled
from limen.formula import tanh

PER_CHANNEL = {"num_parameters": 4}


class Slide(limen.Activation):
    """A user's own, of no name."""

    k = limen.Param(0.5)

    @staticmethod
    def formula(x, k):
        return x * tanh(k * x)


def shared_or_by_channel(name):
    takes = "num_parameters" in limen.create(name).__class__.__signature__.parameters
    return [{}, PER_CHANNEL] if takes and list(limen.create(name).parameters()) else [{}]


CASES = [(name, named) for name in KEEPING_SHAPE for named in shared_or_by_channel(name)]


def both(x, reference):
    return torch.cat([x, reference])


def plain_gradient(module, x, g):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(module(x), x, g)[0]


@pytest.mark.parametrize(("name", "named"), CASES)
def test_the_rule_accounts_for_the_whole_difference(name, named):
    """Of every activation, per channel and of samples too, also from a reference that is constant."""
    module = perturbed(name, **named)
    x, g = torch.randn(3, 4, 5), torch.randn(6, 4, 5)
    for reference in (torch.randn(3, 4, 5), torch.zeros(3, 4, 5)):
        inputs = both(x, reference)
        outputs = module(inputs).detach()
        found = rescaled(module, inputs, outputs, plain_gradient(module, inputs, g), g)
        step, change = x - reference, outputs[:3] - outputs[3:]
        for half in (slice(3), slice(3, None)):
            expected = (g[half] * change).sum((1, 2))
            torch.testing.assert_close((found[half] * step).sum((1, 2)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_rule_of_one_element_is_the_ratio_of_differences(name):
    module = perturbed(name)
    inputs, g = torch.randn(6, 4), torch.randn(6, 4)
    inputs[0, 0] = inputs[3, 0]
    outputs = module(inputs).detach()
    plain = plain_gradient(module, inputs, g)
    found = rescaled(module, inputs, outputs, plain, g)
    ratio = (outputs[:3] - outputs[3:]) / (inputs[:3] - inputs[3:])
    expected = g * torch.cat([ratio] * 2)
    expected[0, 0], expected[3, 0] = plain[0, 0], plain[3, 0]
    torch.testing.assert_close(found, expected)


def test_slopes_on_the_way_are_the_ratio_where_the_function_is_of_one_element():
    """What ASH gets is what element-wise activations get, from another direction."""
    module = perturbed("asau")
    inputs, g = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    outputs, plain = module(inputs).detach(), plain_gradient(module, inputs, g)
    expected = rescaled(module, inputs, outputs, plain, g)
    module.elementwise = False
    torch.testing.assert_close(rescaled(module, inputs, outputs, plain, g), expected, rtol=1e-6, atol=1e-8)


def test_where_nothing_differs_the_gradient_is_the_plain_one():
    for name in ("asau", "ash"):
        module = perturbed(name)
        inputs, g = torch.randn(3, 4).repeat(2, 1), torch.randn(6, 4)
        plain = plain_gradient(module, inputs, g)
        torch.testing.assert_close(rescaled(module, inputs, module(inputs).detach(), plain, g), plain)


def network(make):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), make(), nn.Conv2d(4, 4, 3), make(), nn.Flatten(), nn.Linear(36, 3)).eval()


@pytest.mark.filterwarnings("ignore:Setting .* hooks", "ignore:Input Tensor .* did not already require gradients")
class TestCaptum:
    @pytest.fixture(autouse=True)
    def _registered(self):
        self.captum, self.table = library("captum.attr"), library("captum.attr._core.deep_lift").SUPPORTED_NON_LINEAR
        self.x, self.baseline = torch.randn(3, 2, 7, 7), torch.randn(3, 2, 7, 7)
        library("limen.adapters.captum").register()
        yield
        library("limen.adapters.captum").unregister()

    def deep_lift(self, model, kind="DeepLift"):
        method = getattr(self.captum, kind)(model)
        return method.attribute(self.x, self.baseline, target=1, return_convergence_delta=True)

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [(limen.ReLU, nn.ReLU), (limen.ELU, nn.ELU), (limen.LeakyReLU, nn.LeakyReLU), (limen.Softplus, nn.Softplus),
         (limen.SiLU, nn.SiLU), (limen.GELU, nn.GELU), (limen.PReLU, nn.PReLU)],
    )  # fmt: skip
    def test_the_numbers_are_those_of_torchs_own(self, ours, theirs, monkeypatch):
        monkeypatch.setitem(self.table, theirs, library("captum.attr._core.deep_lift").nonlinear)
        # In float32 a difference near eps is rounding, divided by rounding.
        self.x, self.baseline = self.x.double(), self.baseline.double()
        (found, _), (expected, _) = (self.deep_lift(network(make).double()) for make in (ours, theirs))
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("kind", ["DeepLift", "DeepLiftShap"])
    @pytest.mark.parametrize("name", ["asau", "adact", "ash", "hard_ash", "apalu", "slide"])
    def test_attributions_add_up(self, kind, name):
        make = Slide if name == "slide" else lambda: limen.create(name, **shared_or_by_channel(name)[-1])
        assert self.deep_lift(network(make), kind)[1].abs().max() < 1e-5

    def test_a_swapped_model_of_layers_and_neurons(self):
        model = network(nn.ReLU)
        limen.swap_(model, "asau", num_parameters="channel")
        layer = self.captum.LayerDeepLift(model, model[0])
        _, delta = layer.attribute(self.x, self.baseline, target=1, return_convergence_delta=True)
        assert delta.abs().max() < 1e-5
        neuron = self.captum.NeuronDeepLift(model, model[2]).attribute(self.x, (0, 1, 1), self.baseline)
        part = model[:3]
        expected = (part(self.x) - part(self.baseline))[:, 0, 1, 1]
        torch.testing.assert_close(neuron.sum((1, 2, 3)), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("kind", ["GuidedBackprop", "Deconvolution"])
    def test_guiding_through_relu(self, kind):
        method = getattr(self.captum, kind)
        found, expected = (method(network(make)).attribute(self.x, target=1) for make in (limen.ReLU, nn.ReLU))
        torch.testing.assert_close(found, expected)
        with pytest.warns(UserWarning, match=f"{kind} changes the gradients of ReLU alone; ASAU keeps its own"):
            method(network(limen.ASAU)).attribute(self.x, target=1)

    def test_unregistering_leaves_nothing_and_your_own_rule_stays(self):
        adapter, before = library("limen.adapters.captum"), dict(self.table)
        rule = library("captum.attr._core.deep_lift").nonlinear
        self.table[limen.Swish] = rule
        self.deep_lift(nn.Sequential(network(limen.Swish), limen.ASAU()))
        assert (self.table.pop(limen.Swish), self.table[limen.ASAU]) == (rule, adapter.rescaled)
        adapter.register()
        adapter.unregister()
        adapter.unregister()
        assert self.table == before
        assert self.deep_lift(network(limen.ASAU))[1].abs().max() > 1e-3
