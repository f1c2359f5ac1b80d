"""A bias or another tensor beside an activation: the numbers of the sum and the activation one after the other."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers import thoroughly
from torch import Tensor, nn

import limen
from limen.beside import pairs
from limen.beside.making import one_pass_of
from limen.errors import ShapeError, SpecError
from limen.kernels import dispatch
from limen.kernels.several import Several

SPECS = ("relu", "asau", "swish:num_parameters=4", "ash")


def reference(spec: str) -> limen.Activation:
    return limen.create(spec).double()


@pytest.mark.parametrize(
    ("spec", "dtype"),
    thoroughly(
        itertools.product(SPECS, (torch.float32, torch.bfloat16)),
        usual=[("asau", torch.float32), ("ash", torch.float32)],
    ),
)
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 4), (0, 4, 3)])
def test_a_bias_is_added(spec, dtype, shape):
    torch.manual_seed(0)
    module = limen.BiasAct(spec, 4)
    with torch.no_grad():
        module.bias.normal_()
    x = torch.randn(shape).to(dtype).requires_grad_()
    y = module(x)
    wide = x.detach().double().requires_grad_()
    bias = module.bias.detach().double().requires_grad_()
    wanted = reference(spec)(wide + bias.reshape(1, 4, *[1] * (len(shape) - 2)))
    g = torch.randn(shape).to(dtype)
    found = torch.autograd.grad(y, [x, module.bias], g)
    gradients = torch.autograd.grad(wanted, [wide, bias], g.double())
    exact = dtype is torch.float32 and spec != "ash"
    for one, other in zip((y, *found), (wanted, *gradients), strict=True):
        scale = float(other.detach().abs().max()) if other.numel() else 0
        tolerance = 2e-6 if exact else 0.03 if dtype is torch.bfloat16 else 1e-5
        assert (float((one.detach().double() - other.detach()).abs().max()) if one.numel() else 0) <= tolerance * (
            1 + scale
        )
    assert y.dtype is dtype


@pytest.mark.parametrize("spec", SPECS)
def test_a_tensor_is_added(spec):
    torch.manual_seed(0)
    module, x, other = limen.ResidualAct(spec), torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    wanted = reference(spec)(x.double() + other.double()).float()
    with torch.no_grad():
        torch.testing.assert_close(module(x, other), wanted, rtol=1e-5, atol=1e-6)
    x.requires_grad_()
    y = module(x, other)
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-6)
    (one,) = torch.autograd.grad(y.sum(), x)
    (two,) = torch.autograd.grad(module.activation(x + other).sum(), x)
    torch.testing.assert_close(one, two)


def test_without_gradients_it_is_one_pass_and_with_them_the_sum_is_kept(monkeypatch):
    calls: list[Several] = []
    found = dispatch.evaluate_several
    monkeypatch.setattr(dispatch, "evaluate_several", lambda call: calls.append(call) or found(call))
    x, other = torch.randn(8, 64), torch.randn(8, 64)
    module = limen.ResidualAct("silu")
    module(x, other)
    assert len(calls) == 1
    x.requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x, other)
    assert len(calls) == 1
    assert [tensor.numel() for tensor in kept] == [x.numel()]


def test_functions_are_the_modules():
    x, bias, other = torch.randn(3, 4), torch.randn(4), torch.randn(3, 4)
    module = limen.BiasAct("asau:beta=2", 4, channel_dim=-1)
    with torch.no_grad():
        module.bias.copy_(bias)
    torch.testing.assert_close(limen.functional.bias_act(x, bias, "asau", -1, beta=2), module(x).detach())
    sums = limen.functional.residual_act(x, other, "swish", beta=0.5)
    torch.testing.assert_close(sums, limen.ResidualAct("swish:beta=0.5")(x, other).detach())
    with pytest.raises(ShapeError, match="4 parameters"):
        limen.functional.bias_act(x, bias, channel_dim=0)


def test_a_module_of_anyones_is_called():
    hooked, seen = limen.ASAU(), []
    hooked.register_forward_hook(lambda *_: seen.append(1))
    x = torch.randn(2, 4)
    for activation in (nn.Hardswish(), hooked):
        torch.testing.assert_close(limen.BiasAct(activation, 4)(x), activation(x))
        torch.testing.assert_close(limen.ResidualAct(activation)(x, x), activation(2 * x))
    assert len(seen) == 4


@pytest.mark.parametrize("spec", ["relu", "asau:num_parameters=4"])
@pytest.mark.parametrize(
    ("affine", "dtype"),
    thoroughly(
        itertools.product((True, False), (torch.float32, torch.bfloat16)),
        usual=[(True, torch.float32)],
    ),
)
def test_a_norm_a_sum_and_an_activation_in_one(spec, affine, dtype):
    torch.manual_seed(0)
    norm, activation = nn.BatchNorm2d(4, affine=affine), limen.create(spec).train()
    wide_norm, wide = nn.BatchNorm2d(4, affine=affine).double(), limen.create(spec).double().train()
    wide.load_state_dict(activation.state_dict())
    if affine:
        with torch.no_grad():
            norm.weight.normal_()
            wide_norm.weight.copy_(norm.weight)
    x, other = (torch.randn(3, 4, 32, 17).to(dtype).requires_grad_() for _ in range(2))
    inputs = [tensor.detach().double().requires_grad_() for tensor in (x, other)]
    y = pairs.norm_add_act(norm, activation, x, other, False)
    z = wide_norm(inputs[0]) + inputs[1]
    wanted = wide(z)
    g = torch.randn_like(y)
    learned = [p for p in norm.parameters() if p.requires_grad], [p for p in wide_norm.parameters() if p.requires_grad]
    found = torch.autograd.grad(y, [x, other, *learned[0]], g, retain_graph=True)
    references = torch.autograd.grad(wanted, [*inputs, *learned[1]], g.double())
    tolerance = 2e-5 if dtype is torch.float32 else 0.02
    for one, two in zip((y, *found), (wanted, *references), strict=True):
        assert float((one.double() - two).detach().abs().max()) <= tolerance * (1 + float(two.detach().abs().max()))
    torch.testing.assert_close(norm.running_var.double(), wide_norm.running_var.double(), rtol=1e-5, atol=1e-6)
    assert "_RecordedBackward" in type(y.grad_fn).__name__
    (again,) = torch.autograd.grad(y, x, g, create_graph=True)
    assert again.requires_grad
    torch.testing.assert_close(again, found[0], rtol=0.02, atol=1e-2 if dtype is torch.bfloat16 else 1e-4)


def test_a_bias_along_another_axis_than_the_activations_parameters():
    activation = limen.PReLU(num_parameters=4)
    with torch.no_grad():
        activation.weight.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    module, x = limen.BiasAct(activation, 6, channel_dim=-1), torch.randn(3, 4, 6)
    with torch.no_grad():
        module.bias.normal_()
    torch.testing.assert_close(module(x), activation(x + module.bias))


def test_parameters_of_groups_of_channels_are_spread_over_them():
    activation, x = limen.PReLU(num_parameters=2, group_size=2), torch.randn(3, 4, 5)
    with torch.no_grad():
        activation.weight.copy_(torch.tensor([0.1, 0.4]))
    with limen.use_backend("plain"):
        torch.testing.assert_close(limen.BiasAct(activation, 4)(x), activation(x))


def test_a_norm_of_rows_of_features_and_its_activation_are_one_step():
    y = pairs.norm_act(nn.BatchNorm1d(6), limen.ASAU(), torch.randn(70, 6))
    assert "BatchNorm" not in str(y.grad_fn.next_functions)


def test_who_watches_all_modules_sees_a_norm_and_its_activation():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    try:
        pairs.norm_act(nn.BatchNorm1d(6), limen.ASAU(), torch.randn(70, 6))
    finally:
        handle.remove()
    assert seen == ["BatchNorm1d", "ASAU"]


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
def test_an_activation_that_is_watched_must_be_called(kind):
    module = limen.ASAU()
    assert one_pass_of(module) is not None
    getattr(module, f"register_{kind}")(lambda *_: None)
    assert one_pass_of(module) is None


@pytest.mark.parametrize("channels", [0, True, 1.5])
def test_a_bias_has_a_channel(channels):
    with pytest.raises(SpecError, match="give a number from 1"):
        limen.BiasAct("relu", channels)
