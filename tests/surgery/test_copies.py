"""What was swapped is swapped in copies and pickles too, whatever the model's classes do when they are restored."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen


class Base(nn.Module):
    def __init__(self, act=F.relu):
        super().__init__()
        self.fc, self.act = nn.Linear(4, 4), act

    def forward(self, x):
        return self.act(self.fc(x)) + F.gelu(x)


class Filling(Base):
    """Puts a function into the state where it finds none."""

    def __setstate__(self, state):
        state.setdefault("act", F.relu)
        super().__setstate__(state)


class Renewing(Base):
    """Makes its activation anew whenever it is restored."""

    def __init__(self):
        super().__init__(nn.ReLU())

    def __setstate__(self, state):
        super().__setstate__(state)
        self.act = nn.ReLU()


class Dropping(Base):
    """Leaves out of its state what it makes anew."""

    def __getstate__(self):
        return {key: value for key, value in super().__getstate__().items() if key != "act"}

    def __setstate__(self, state):
        super().__setstate__({"act": F.relu, **state})


class Rebuilt(Base):
    """Is built by its constructor, then given its state."""

    def __reduce__(self):
        return Rebuilt, (), self.__getstate__()


def decoder(act):
    return nn.TransformerDecoderLayer(4, 2, 4, batch_first=True, activation=act)


NETWORKS = {
    "decoder of a name": lambda: decoder("gelu"),
    "decoder of a function": lambda: decoder(F.relu),
    "decoder of a module": lambda: decoder(nn.GELU()),
    "encoder": lambda: nn.TransformerEncoderLayer(4, 2, 4, batch_first=True, activation=F.gelu),
    "transformer": lambda: nn.Transformer(4, 2, 1, 1, 4, batch_first=True),
    "traced": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU())),
    **{cls.__name__: cls for cls in (Filling, Renewing, Dropping, Rebuilt)},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_and_pickles_compute_what_the_swapped_model_does(name):
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    x = torch.randn(1, 3, 4)
    given = (x, x + 1) if "former" in name or "decoder" in name else (x,)
    report = limen.swap_(model, "asau")
    for module in model.modules():
        if isinstance(module, limen.ASAU):
            module.alpha.data.fill_(3.0)
    expected = model(*given)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.copy(model), model):
        assert torch.equal(twin(*given), expected)
        assert sum(isinstance(module, limen.ASAU) for module in twin.modules()) == len(report.sites)
    twin.load_state_dict(copy.deepcopy(model).state_dict(), strict=True)
    report.undo()
    assert not any(isinstance(module, limen.ASAU) for module in model.modules())


@pytest.mark.parametrize("first", ["ash", "asau"])
def test_copies_after_two_swaps(first):
    model = nn.TransformerDecoderLayer(4, 2, 4, batch_first=True).eval()
    reports = [limen.swap_(model, first), limen.swap_(model, "swish")]
    x = torch.randn(1, 3, 4)
    assert torch.equal(copy.deepcopy(model)(x, x), model(x, x))
    for report in reversed(reports):
        report.undo()
    assert type(model) is nn.TransformerDecoderLayer
    assert copy.deepcopy(model).activation is F.relu


class Pictured(Base):
    """Cannot be made without its size."""

    def __new__(cls, size):
        made = super().__new__(cls)
        made.made_of = size
        return made

    def __init__(self, size):
        super().__init__()

    def __getnewargs__(self):
        return (self.made_of,)


def test_what_a_class_is_made_of_is_handed_on():
    model = Pictured(7)
    limen.swap_(model, "asau")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.copy(model)):
        assert twin.made_of == 7
        assert isinstance(twin.act, limen.ASAU)
