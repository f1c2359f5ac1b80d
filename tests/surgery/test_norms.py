"""Norms replaced by functions of each value: which are found, what they take over, what stays, the way back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import limen
from limen.errors import LimenError, SpecError


class TheirRMSNorm(nn.Module):
    """As libraries write it; ``plus`` as Gemma does."""

    def __init__(self, features: int, plus: bool = False) -> None:
        super().__init__()
        self.weight, self.plus = nn.Parameter(torch.rand(features)), plus

    def forward(self, x: Tensor) -> Tensor:
        normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        return normed * (1 + self.weight if self.plus else self.weight)


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of maps."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class NormOfNothing(nn.Module):
    """Called a norm, and none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


FOUND = {
    "LayerNorm": (lambda: nn.LayerNorm(6), -1),
    "LayerNorm without bias": (lambda: nn.LayerNorm(6, bias=False), -1),
    "RMSNorm": (lambda: nn.RMSNorm(6), -1),
    "RMSNorm of a library": (lambda: TheirRMSNorm(6), -1),
    "RMSNorm with 1 + weight": (lambda: TheirRMSNorm(6, plus=True), -1),
    "LayerNorm of maps": (lambda: LayerNorm2d(6), 1),
}
KEPT = {
    "BatchNorm": (lambda: nn.BatchNorm1d(6), "over a batch or over groups"),
    "GroupNorm": (lambda: nn.GroupNorm(2, 6), "over a batch or over groups"),
    "several axes": (lambda: nn.LayerNorm((2, 3)), "over 2 axes"),
    "not a norm": (NormOfNothing, "not a norm over the features"),
    "a scale of 0": (lambda: nn.LayerNorm(6), "it gives 0 for any input"),
    "on meta": (lambda: nn.LayerNorm(6, device="meta"), "on meta"),
}


def scaled(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return norm


@pytest.mark.parametrize("kind", FOUND)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scale_and_shift_are_taken_over(kind, dtype):
    make, axis = FOUND[kind]
    model = nn.Sequential(scaled(make())).to(dtype)
    norm = model[0]
    x = torch.zeros(2, 6, 3, 3, dtype=dtype) if axis == 1 else torch.zeros(2, 3, 6, dtype=dtype)
    report = limen.swap_norms_(model, "dyt")
    assert [site.path for site in report.sites] == ["0"]
    new = model[0]
    assert isinstance(new, limen.DyT)
    assert (new.num_parameters, new.channel_dim) == (6, axis)
    scale = norm.weight.float() + (1 if getattr(norm, "plus", False) else 0)
    torch.testing.assert_close(new.weight.float(), scale, rtol=2e-2, atol=2e-2)
    if not getattr(norm, "plus", False):
        assert torch.equal(new.weight.float(), norm.weight.float())
    bias = getattr(norm, "bias", None)
    assert torch.equal(new.bias.float(), torch.zeros(6) if bias is None else bias.float())
    assert model(x).shape == x.shape
    report.undo()
    assert model[0] is norm


@pytest.mark.parametrize("kind", KEPT)
def test_others_stay_with_the_reason(kind):
    make, reason = KEPT[kind]
    norm = make()
    if kind == "a scale of 0":
        nn.init.zeros_(norm.weight)
    report = limen.swap_norms_(nn.Sequential(nn.Linear(6, 6), norm), "derf")
    assert not report.sites
    assert [(site.path, reason in site.reason) for site in report.skipped] == [("1", True)]


def test_a_norm_without_parameters_gets_none_that_learn():
    model = nn.Sequential(nn.LayerNorm(4, elementwise_affine=False))
    limen.swap_norms_(model, "derf")
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["0.alpha", "0.s"]
    assert model[0].weight.tolist() == [1.0] * 4
    assert model[0].bias.tolist() == [0.0] * 4


def test_where_and_keep_and_a_spec():
    model = nn.Sequential(nn.LayerNorm(4), nn.LayerNorm(4), nn.LayerNorm(4))
    report = limen.swap_norms_(model, "dyt:alpha=0.8", where=["0", "1"], keep="1")
    assert [site.path for site in report.sites] == ["0"]
    assert [site.reason for site in report.skipped] == ["named by keep", "not named by where"]
    assert model[0].alpha.item() == pytest.approx(0.8)


def test_one_object_at_two_places_stays_one():
    norm = nn.LayerNorm(4)
    model = nn.Sequential(norm, nn.Linear(4, 4), norm)
    report = limen.swap_norms_(model, "dyt")
    assert len(report.sites) == 1
    assert model[0] is model[2]
    report.undo()
    assert model[0] is norm is model[2]


def test_state_dicts_of_before_and_after_load():
    model = nn.Sequential(nn.Linear(4, 4), scaled(nn.LayerNorm(4)))
    before = copy.deepcopy(model.state_dict())
    report = limen.swap_norms_(model, "dyt")
    weight = model[1].weight.clone()
    model.load_state_dict(before)
    assert torch.equal(model[1].weight, weight)
    after = model.state_dict()
    model.load_state_dict(after)
    original = report.original_state(after)
    assert list(original) == list(before)
    report.undo()
    model.load_state_dict(original)
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)


def test_torchs_transformer_layer_runs_in_training_and_evaluation():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    x = torch.randn(2, 5, 8)
    report = limen.swap_norms_(model, "dyt", example_inputs=x)
    assert len(report.sites) == 4
    assert report.drift is not None
    assert report.drift > 0
    y = model.eval()(x)
    assert y.shape == x.shape
    model.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in report.parameters())
    report.undo()
    assert isinstance(model.layers[0].norm1, nn.LayerNorm)
    model.eval()(x)


def test_positions_and_channels_do_not_meet():
    model = nn.Sequential(nn.LayerNorm(4))
    limen.swap_norms_(model, "dyt")
    x = torch.randn(3, 4, requires_grad=True)
    model(x)[0, 0].backward()
    assert x.grad is not None
    assert x.grad.count_nonzero() == 1


def test_what_cannot_be():
    with pytest.raises(LimenError, match="the model is one itself"):
        limen.swap_norms_(nn.LayerNorm(4), "dyt")
    with pytest.raises(LimenError, match="and str was given"):
        limen.swap_norms_("dyt", nn.LayerNorm(4))
    with pytest.raises(SpecError, match="Did you mean"):
        limen.swap_norms_(nn.Sequential(nn.LayerNorm(4)), "dty")
    with pytest.raises(SpecError, match="fits none of the model's 1 sites"):
        limen.swap_norms_(nn.Sequential(nn.LayerNorm(4)), "dyt", where="norm")
