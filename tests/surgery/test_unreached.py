"""What a swap reaches beyond plain methods, and what it names because it cannot reach it."""

from __future__ import annotations

import typing

import nasty
import torch
from checks import assert_same, check_swap, evaluated
from torch import nn
from torch.nn import functional as F

import limen


class Classes(nasty.Base):
    """Class methods, called by instance, class and name; they call a static one and one another."""

    factor = 2

    @classmethod
    def one(cls, x):
        return F.relu(x) * cls.factor + cls.still(cls.two(x)) + len(cls.__mro__)

    @classmethod
    def two(cls, x):
        return F.gelu(x)

    @staticmethod
    def still(x):
        return F.silu(x) + 1

    def forward(self, x):
        other = self.two
        return self.one(self.a(x)) + Classes.two(self.b(x)) + other(x)


class Outside(nasty.Base):
    """A class method of another class."""

    def forward(self, x):
        return Classes.two(self.a(x))


def test_class_methods_are_reached(inputs):
    check_swap(Classes, inputs, sites=3)
    model = Classes().eval()
    before = evaluated(model, inputs)
    limen.swap_(model, limen.ReLU, where=nn.ReLU)
    assert_same(evaluated(model, inputs), before)
    assert torch.equal(type(model).two(inputs), F.gelu(inputs))
    (named,) = limen.swap_(Outside(), "asau").unreached
    assert "two, a class method of another object" in named


class Iterating(nn.Module):
    """Its forward would meet a registered activation among its children."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        for child in self.children():
            x = F.relu(child(x))
        return x


class Unknown(nn.Module):
    """Activations behind what only a run can tell."""

    def __init__(self):
        super().__init__()
        self.name = "relu"
        self.layer = nn.Linear(4, 4)

    @property
    def act(self):
        return F.gelu

    def forward(self, x):
        return self.act(self.layer(x))

    def predict(self, x):
        return torch.sigmoid(self(x))


def test_what_cannot_be_reached_is_named(inputs):
    (named,) = limen.swap_(Iterating(), "asau").unreached
    assert "F.relu(child(x))" in named
    assert f"{__file__}:" in named
    report = limen.swap_(Unknown(), "asau", example_inputs=inputs)
    assert [site.path for site in report.sites] == ["gelu_1"]
    (kept,) = report.skipped
    assert "Unknown.predict: sigmoid" in kept.before
    namespace = {"nn": nn, "F": F, "__name__": "typed"}
    exec("class Typed(nn.Module):\n    def forward(self, x):\n        return F.relu(x.sum(0))", namespace)
    (named,) = limen.swap_(nn.Sequential(namespace["Typed"](), nn.ReLU()), "asau").unreached
    assert "relu in Typed.forward, and there is no source to rewrite" in named


class Default(nn.Module):
    """A function as a default argument."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, act=F.gelu):
        return act(F.relu(self.layer(x)))


def test_more_that_is_named(inputs):
    report = limen.swap_(Default(), "asau")
    assert len(report.sites) == 1
    (named,) = report.unreached
    assert named.endswith("gelu as a default argument")
    graph = torch.fx.symbolic_trace(nasty.Items())
    report = limen.swap_(graph, "asau", example_inputs=inputs)
    assert [site.path for site in report.sites] == ["1"]
    assert any("relu at node relu" in named for named in report.unreached)


def first(x):
    return second(x)


def second(x):
    return third(x)


def third(x):
    return fourth(F.relu(x))


def fourth(x):
    return fifth(F.silu(x))


def fifth(x):
    return F.gelu(x).cumsum(-1)


class Deep(nn.Module):
    """Helpers that call helpers."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return first(self.layer(x))


def test_helpers_are_read_four_calls_deep():
    report = limen.swap_(Deep(), "asau")
    assert [site.path for site in report.sites] == ["relu_1", "silu_1"]


def test_a_compiled_model(inputs):
    model = nasty.Functions()
    compiled = torch.compile(model, backend="eager")
    before = compiled(inputs)
    report = limen.swap_(compiled, "asau", example_inputs=inputs)
    assert len(report.sites) == 9
    assert not report.unreached
    torch.testing.assert_close(compiled(inputs), model(inputs))
    report.undo()
    torch.testing.assert_close(compiled(inputs), before)


def test_metaclasses_slots_and_registries():
    """Deriving a class must not tell those who keep count of subclasses."""

    class Registering(nn.Module):
        __slots__ = ("slot",)
        seen: typing.ClassVar[list] = []

        def __init_subclass__(cls, *, tag, **kwargs):
            super().__init_subclass__(**kwargs)
            Registering.seen.append(tag)

    class Registered(Registering, tag="one"):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return F.relu(self.layer(x))

    model = Registered()
    model.slot = 3
    assert len(limen.swap_(model, "asau").sites) == 1
    assert model.slot == 3
    assert Registering.seen == ["one"]
