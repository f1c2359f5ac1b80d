"""Branches of which only one can run share the activation of the one object that they call; a sequence does not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen


class Base(nn.Module):
    """Calls ``act`` in two ways: before it is fused, and after."""

    sites = 1

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act, self.fused = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(), None


class IfElse(Base):
    def forward(self, x):
        if self.fused is not None:
            y = self.act(self.a(x))
        else:
            x = self.b(x)
            y = self.act(x)
        return y


class EarlyReturn(Base):
    def forward(self, x):
        if self.fused is not None:
            return self.act(self.a(x))
        x = self.b(x)
        return self.act(x)


class Conditional(Base):
    def forward(self, x):
        return self.act(self.a(x)) if self.fused is not None else self.act(self.b(x))


class Cases(Base):
    def forward(self, x):
        match self.fused:
            case None:
                return self.act(self.b(x))
            case 1:
                x = self.act(x)
            case _:
                x = self.act(self.a(x))
        return x


class Attempt(Base):
    def forward(self, x):
        try:
            return self.act(self.a(x) + self.fused)
        except TypeError:
            return self.act(self.b(x))


class Methods(Base):
    def forward(self, x):
        if self.fused is not None:
            return self.after(x)
        return self.before(x)

    def after(self, x):
        return self.act(self.a(x))

    def before(self, x):
        return self.act(self.b(x))


class Raising(Base):
    def forward(self, x):
        if self.fused is None:
            x = self.act(self.b(x))
        elif self.fused == 1:
            raise ValueError(self.fused)
        else:
            with torch.no_grad():
                x = self.act(self.a(x))
        return x


class Alias(Base):
    """One object of two names."""

    def __init__(self):
        super().__init__()
        self.nonlinear = self.act

    def forward(self, x):
        return self.act(self.b(x)) if self.fused is None else self.nonlinear(self.a(x))


class Held(Base):
    """A function that the module holds."""

    def __init__(self):
        super().__init__()
        del self.act
        self.act = F.relu

    def forward(self, x):
        if self.fused is None:
            return self.act(self.b(x))
        return self.act(self.a(x))


class Looped(Base):
    """Leaves the loop where one runs, so that the other does not."""

    def forward(self, x):
        for layer in (self.a, self.b):
            if self.fused is not None:
                return self.act(layer(x))
            x = layer(x)
        return self.act(x)


class Residual(Base):
    """Two calls each: the first of one branch goes with the first of the other."""

    sites = 2

    def forward(self, x):
        if self.fused is not None:
            return self.act(self.a(self.act(self.b(x))))
        return self.act(self.b(self.act(self.b(x))))


class Before(Base):
    """A call that runs in any case."""

    sites = 2

    def forward(self, x):
        x = self.act(x)
        return self.act(self.b(x)) if self.fused is None else self.act(self.a(x))


class After(Base):
    sites = 2

    def forward(self, x):
        x = self.act(self.b(x)) if self.fused is None else self.act(self.a(x))
        return self.act(x + 1)


EXCLUSIVE = [IfElse, EarlyReturn, Conditional, Cases, Attempt, Methods, Raising, Alias, Held, Looped, Residual,
             Before, After]  # fmt: skip


class Sequence(Base):
    def forward(self, x):
        return self.act(self.b(self.act(self.a(x))))


class MayFollow(Base):
    """The first branch does not leave."""

    def forward(self, x):
        if self.fused is None:
            x = self.act(self.a(x))
        return self.act(self.b(x))


class Rounds(Base):
    """Either branch in one round, both in the next."""

    def forward(self, x):
        for index in range(2):
            x = self.act(self.a(x)) if index else self.act(self.b(x))
        return x


class Asks(Base):
    """One is in the question."""

    def forward(self, x):
        if self.act(self.a(x)).sum() > 0:
            return self.act(self.b(x))
        return x


class Breaks(Base):
    def forward(self, x):
        while True:
            if x.sum() > 0:
                x = self.act(self.a(x))
                break
            x = x + 1
        return self.act(self.b(x))


class RaisesItself(Base):
    def forward(self, x):
        try:
            x = self.act(self.a(x))
            if self.fused is None:
                raise ValueError
        except ValueError:
            x = self.act(self.b(x))
        return x


class Finally(Base):
    def forward(self, x):
        try:
            return self.act(self.a(x))
        finally:
            self.kept = self.act(self.b(x))


class Helper(Base):
    """Calls a method before one branch."""

    def forward(self, x):
        y = self.first(x)
        return y if self.fused is None else self.act(self.b(y))

    def first(self, x):
        return self.act(self.a(x))


class Functions(Base):
    """No object says that these are one."""

    def __init__(self):
        super().__init__()
        del self.act

    def forward(self, x):
        return F.relu(self.a(x)) if self.fused is not None else F.relu(self.b(x))


SEQUENCES = [Sequence, MayFollow, Rounds, Asks, Breaks, RaisesItself, Finally, Helper, Functions]


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(3, 4)


@pytest.mark.parametrize("network", EXCLUSIVE)
def test_what_a_branch_learned_is_there_in_the_other(network, x):
    model = network()
    report = limen.swap_(model, "asau", where="act*")
    assert [site.path for site in report.sites] == ["act", "act_2"][: network.sites]
    model.b.load_state_dict(model.a.state_dict())
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, limen.ASAU):
                module.alpha.fill_(3.0)
    expected = model(x)
    model.fused = 0
    assert torch.allclose(model(x), expected, atol=1e-6) == (network is not Looped)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    report.undo()
    assert type(model) is network


@pytest.mark.parametrize("network", EXCLUSIVE)
def test_all_parameters_get_a_gradient_in_each_branch(network, x):
    for fused in (None, 0):
        model = network()
        model.fused = fused
        limen.swap_(model, "asau", example_inputs=x)
        with torch.enable_grad():
            y = model(x)
        if y.requires_grad:
            y.sum().backward()
            activations = limen.activation_parameters(model)
            assert activations
            assert all(parameter.grad is not None for parameter in activations)


@pytest.mark.parametrize("network", SEQUENCES)
def test_calls_that_may_both_run_stay_two(network, x):
    assert len(limen.swap_(network(), "asau", where=nn.ReLU).sites) == 2


def test_what_is_kept_of_shared_branches_goes_on_as_it_was(x):
    for network in (Before, Residual, After):
        for fused in (None, 0):
            model = network()
            model.fused = fused
            twin = copy.deepcopy(model)
            limen.swap_(model, nn.Tanh, where="act_2")
            limen.swap_(model, nn.Identity, where="act")
            limen.swap_(twin, nn.Identity, keep="act_2")
            limen.swap_(twin, nn.Tanh, where="act_2")
            assert torch.equal(model(x), twin(x))


class Widths(Base):
    def forward(self, x):
        return self.act(self.b(x)) if self.fused is None else self.act(self.a(x))


def test_branches_of_unlike_widths_have_a_parameter_a_channel_each(x):
    model = Widths()
    model.a = nn.Linear(4, 7)
    report = limen.swap_(model, "asau", num_parameters="channel")
    assert [model.get_submodule(site.path).num_parameters for site in report.sites] == [4, 7]
    report.undo()
    assert len(limen.swap_(model, "asau").sites) == 1


def test_what_any_branch_must_not_lose_is_overwritten_in_all():
    class Overwriting(Base):
        def forward(self, x):
            self.act.inplace = True
            if self.fused is None:
                return self.act(self.b(x))
            self.act(x)
            return x

    model = Overwriting()
    model.act.inplace = True
    limen.swap_(model, nn.Tanh, where="act")
    model.fused, x = 1, torch.ones(2)
    assert torch.equal(model(x), torch.ones(2).tanh())
