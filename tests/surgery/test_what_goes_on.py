"""What is computed around an activation: bounds, scales, powers, and parameters of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen

X = torch.randn(5, 4)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(1))


class Clamped(Layer):
    def forward(self, x):
        return F.relu(self.layer(x)).clamp(max=6)


class ClampedBelow(Layer):
    def forward(self, x):
        return torch.clamp(F.relu(self.layer(x)), 0, 2.5)


class Minimum(Layer):
    def forward(self, x):
        x = self.layer(x)
        return torch.minimum(torch.relu(x), torch.tensor(6.0))


class Squared(Layer):
    def forward(self, x):
        return F.relu(self.layer(x)) ** 2


class SquaredCall(Layer):
    def forward(self, x):
        return torch.relu(self.layer(F.gelu(x))).square()


@pytest.mark.parametrize(
    ("build", "labels"),
    [
        (Clamped, ["relu6_1"]),
        (ClampedBelow, ["hardtanh_1"]),
        (Minimum, ["relu6_1"]),
        (Squared, ["squaredrelu_1"]),
        (SquaredCall, ["squaredrelu_1", "gelu_1"]),
    ],
)
def test_an_inline_formula_is_one_site(build, labels):
    model = build().eval()
    before = model(X)
    report = limen.swap_(model, "swish", where="*", example_inputs=X)
    assert [site.path for site in report.sites] == labels
    assert not report.unreached
    with torch.no_grad():
        inner = X if build is not SquaredCall else model.gelu_1(X)
        assert torch.allclose(model(X), model.get_submodule(labels[0])(model.layer(inner)))
    report.undo()
    assert torch.equal(model(X), before)


class HighCeiling(Layer):
    def forward(self, x):
        return F.relu(self.layer(x)).clamp(max=20)


class Gated(Layer):
    def forward(self, x):
        return F.relu(self.layer(x)) * x[:, :1]


class Scaled(Layer):
    def forward(self, x):
        x = self.layer(x)
        return self.scale * F.relu(x) ** 3


class OfChild(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.layer(x)) ** 2


@pytest.mark.parametrize(
    ("build", "rest"), [(HighCeiling, ".clamp(max=20)"), (Gated, "* x["), (Scaled, "self.scale *"), (OfChild, "** 2")]
)
def test_what_goes_on_with_a_result_is_named(build, rest):
    report = limen.swap_(build(), "asau")
    (site,) = report.sites
    assert site.before.startswith("ReLU() in ")
    assert rest in site.before
    assert rest in str(report)


def test_a_sum_is_nothing_that_goes_on():
    class Residual(Layer):
        def forward(self, x):
            return F.relu(self.layer(x)) + x

    assert limen.swap_(Residual(), "asau").sites[0].before == "ReLU()"


class Softcap(Layer):
    def forward(self, x):
        x = self.layer(x) / 30
        x = torch.tanh(x)
        x = x * 30
        return self.layer(x)


class Position(Layer):
    def forward(self, x):
        return self.layer(2 * torch.tanh(self.layer(x)))


class OfChunk(Layer):
    def forward(self, x):
        hidden, context = self.layer(x).chunk(2, -1)
        hidden = torch.tanh(hidden)
        return self.layer(torch.cat([hidden, context], -1))


class Gate(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.tanh = nn.Tanh()

    def forward(self, x):
        return self.layer(x * self.tanh(self.layer(x)))


@pytest.mark.parametrize("build", [Softcap, Position, OfChunk, Gate])
def test_a_tanh_that_keeps_a_value_in_range_stays_unless_named(build):
    model = build()
    report = limen.swap_(model, "asau")
    assert not report.sites
    assert ["may bound a value" in site.reason for site in report.skipped if "tanh" in site.path] == [True]
    assert len(limen.swap_(model, "asau", where="*tanh*").sites) == 1


def test_a_tanh_between_layers_is_an_activation():
    class Plain(Layer):
        def forward(self, x):
            return self.layer(torch.tanh(self.layer(x)) + x)

    assert [site.path for site in limen.swap_(Plain(), "asau").sites] == ["tanh_1"]


def test_a_bound_behind_an_activation_is_no_second_one():
    class Apart(Layer):
        def forward(self, x):
            x = F.relu(self.layer(x))
            x = torch.clamp(x, 0, 6)
            return self.layer(x)

    report = limen.swap_(Apart(), "asau")
    assert [site.path for site in report.sites] == ["relu_1"]
    assert "another activation's result" in report.skipped[0].reason


class Star(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.scale * self.relu(x) ** 2 + self.bias


def test_an_activation_with_parameters_of_its_own_stays_unless_named():
    model = nn.Sequential(nn.Linear(4, 4), Star(), nn.PReLU())
    report = limen.swap_(model, "asau")
    assert [site.path for site in report.sites] == ["2"]
    assert "its own parameters" in report.skipped[0].reason
    assert [site.path for site in limen.swap_(model, "asau", where=Star).sites] == ["1"]
