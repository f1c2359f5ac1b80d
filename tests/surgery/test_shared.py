"""Modules with several names: shared blocks, and activations that are registered twice."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import limen


class Mlp(nn.Module):
    def __init__(self, act=nn.ReLU):
        super().__init__()
        self.fc, self.act = nn.Linear(4, 4), act()

    def forward(self, x):
        return self.act(self.fc(x))


class Tied(nn.Module):
    """One block under two names, and both of them in a block that has two names too."""

    def __init__(self, act=nn.ReLU):
        super().__init__()
        self.inner = nn.Module()
        self.inner.first = self.inner.second = Mlp(act)
        self.outer, self.last = self.inner, nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), act())

    def forward(self, x):
        return self.last(self.outer.second(self.inner.first(x)))


class Block(nn.Module):
    """nnU-Net's: the activation has a name, and runs in the list of everything."""

    def __init__(self, act=nn.ReLU):
        super().__init__()
        self.conv, self.nonlin = nn.Linear(4, 4), act()
        self.all_modules = nn.Sequential(self.conv, self.nonlin)

    def forward(self, x):
        return self.all_modules(x)


class Named(Block):
    """The other way round: the list is never run."""

    def forward(self, x):
        return self.nonlin(self.conv(x))


class Both(Block):
    """Runs the list and the name."""

    def forward(self, x):
        return self.nonlin(self.all_modules(x))


class Inner(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.fc, self.act = nn.Linear(4, 4), act

    def forward(self, x):
        return self.act(self.fc(x))


class Wrapped(Block):
    """Hands its activation to a block."""

    def __init__(self, act=nn.ReLU):
        super().__init__(act)
        self.all_modules = Inner(self.nonlin)

    def forward(self, x):
        return self.all_modules(self.conv(x))


class Dynamic(Block):
    """What it runs is found by a name."""

    def forward(self, x):
        return getattr(self, "all_modules" if x.ndim > 1 else "nonlin")(x)


class Network(nn.Module):
    """Its decoder holds its encoder too."""

    def __init__(self, block, act):
        super().__init__()
        self.encoder, self.decoder = block(act), nn.Module()
        self.decoder.encoder = self.encoder

    def forward(self, x):
        return self.encoder(x)


@pytest.mark.parametrize("act", [nn.ReLU, nn.PReLU])
@pytest.mark.parametrize(
    "network",
    [Tied, *(lambda act, block=block: Network(block, act) for block in (Block, Named, Both, Wrapped, Dynamic))],
)
@pytest.mark.parametrize("share", ["site", "instance"])
def test_state_dicts_of_shared_modules_from_before_and_after(network, act, share):
    model = network(act)
    before = copy.deepcopy(model.state_dict())
    report = limen.swap_(model, "asau", share=share)
    after = copy.deepcopy(model.state_dict())
    back = report.original_state(after)
    assert list(back) == list(before)
    assert list(back._metadata) == list(before._metadata)
    assert all(torch.equal(back[key], before[key]) for key in before)
    model.load_state_dict(before, strict=True)
    model.load_state_dict(after, strict=True)
    network(act).load_state_dict(back, strict=True)
    for part in model.children():
        path = next(name for name, child in model.named_children() if child is part)
        own = {key.removeprefix(f"{path}."): value for key, value in before.items() if key.startswith(f"{path}.")}
        part.load_state_dict(own, strict=True)
    report.undo()
    assert list(model.state_dict()) == list(before)
    model.load_state_dict(before, strict=True)


@pytest.mark.parametrize(("block", "path", "other"), [
    (Block, "encoder.all_modules.1", "encoder.nonlin"),
    (Named, "encoder.nonlin", "decoder.encoder.all_modules.1"),
    (Wrapped, "encoder.all_modules.act", "*.nonlin"),
])  # fmt: skip
def test_what_runs_under_one_of_two_names_is_one_site(block, path, other):
    model = Network(block, nn.ReLU)
    act = model.encoder.nonlin
    report = limen.swap_(model, "asau")
    assert [site.path for site in report.sites] == [path]
    assert model.encoder.nonlin is model.get_submodule(path)
    model(torch.randn(2, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    report.undo()
    assert model.encoder.nonlin is model.get_submodule(path) is act
    assert not limen.swap_(model, "asau", keep=other).sites


@pytest.mark.parametrize("block", [Both, Dynamic])
def test_what_may_run_under_both_is_two(block):
    assert len(limen.swap_(Network(block, nn.ReLU), "asau").sites) == 2


class Versioned(nn.Module):
    """Refuses states that do not say of which version they are."""

    _version = 3

    def __init__(self):
        super().__init__()
        self.fc, self.act = nn.Linear(4, 4), nn.PReLU()

    def forward(self, x):
        return self.act(self.fc(x))

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        assert local_metadata["version"] == 3
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_versions_of_modules_go_back():
    model = nn.Sequential(Versioned(), Versioned())
    versions = dict(model.state_dict()._metadata)
    first = limen.swap_(model, "asau", where="0.*")
    second = limen.swap_(model, "ash", where="1.*")
    back = first.original_state(second.original_state(model.state_dict()))
    assert dict(back._metadata) == versions
    nn.Sequential(Versioned(), Versioned()).load_state_dict(back)
    assert not hasattr(first.original_state(dict(model.state_dict())), "_metadata")
