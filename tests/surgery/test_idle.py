"""What no example input reaches stays as it is, and the report says so."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError


class Block(nn.Module):
    """Its first call is in a branch that a smaller block never takes."""

    def __init__(self, expand=False):
        super().__init__()
        self.expand, self.wide, self.out, self.act = expand, nn.Identity(), nn.Linear(4, 4), nn.SiLU()
        if expand:
            self.wide = nn.Linear(4, 4)

    def forward(self, x):
        if self.expand:
            x = self.act(self.wide(x))
        return self.act(self.out(x))


class Calls(Block):
    def forward(self, x):
        return F.silu(F.relu(self.wide(x)) if self.expand else self.out(x))


class Listed(Block):
    """Holds an activation that nothing calls."""

    def __init__(self):
        super().__init__()
        self.unused = nn.ReLU()


class Auxiliary(Block):
    """Has a classifier for training only, with random numbers and statistics."""

    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.ReLU())

    def forward(self, x):
        x = super().forward(x)
        return (x, self.head(x)) if self.training else x


class Experts(nn.Module):
    """Sends everything to the first of two."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))

    def forward(self, x):
        return self.experts[int(x.sum() > 1e6)](x)


class Directly(Block):
    """Calls ``forward`` itself."""

    def forward(self, x):
        return self.act.forward(self.out(x))


class Demanding(Block):
    """Needs more in training."""

    def forward(self, x, target=None):
        y = super().forward(x)
        return y if not self.training else y - target


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(6, 4)


@pytest.mark.parametrize(("build", "replaced", "kept"), [
    (Block, ["act_2"], ["act"]),
    (Calls, ["silu_1"], ["act", "relu_1"]),
    (Listed, ["act_2"], ["act", "unused"]),
    (Auxiliary, ["act_2", "head.3"], ["act"]),
    (Demanding, ["act_2"], ["act"]),
    (Directly, ["act"], []),
    (Experts, ["experts.0.1", "experts.1.1"], []),
    (lambda: Block(True), ["act", "act_2"], []),
])  # fmt: skip
def test_what_never_runs_stays_and_says_why(build, replaced, kept, x):
    model = build()
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    report = limen.swap_(model, "asau", example_inputs=x)
    assert torch.equal(torch.get_rng_state(), random)
    assert sorted(site.path for site in report.sites) == replaced
    assert sorted(site.path for site in report.skipped) == kept
    assert all("no example input reaches it" in site.reason and "where" in site.reason for site in report.skipped)
    back = report.original_state(model.state_dict())
    assert list(back) == list(state)
    assert all(torch.equal(back[key], state[key]) for key in state)
    model.zero_grad()
    if build is not Experts:
        out = model(x, 0) if build is Demanding else model(x)
        sum(part.sum() for part in (out if isinstance(out, tuple) else [out])).backward()
        assert all(parameter.grad is not None for parameter in limen.activation_parameters(model))
    report.undo()


def test_experts_that_got_nothing_are_marked(x):
    report = limen.swap_(Experts(), "asau", example_inputs=x)
    assert [site.idle for site in report.sites] == [None, True]
    assert str(report).count("no example input reaches it") == 1
    assert [site.get("idle") for site in report.as_dict()["sites"]] == [None, True]


def test_where_replaces_what_never_runs_and_the_report_marks_it(x):
    report = limen.swap_(Block(), "asau", where=["act", "act_2"], example_inputs=x)
    assert [(site.path, site.idle) for site in report.sites] == [("act", True), ("act_2", None)]
    assert str(report).count("no example input reaches it") == 1


def test_without_examples_nothing_is_known():
    assert [site.path for site in limen.swap_(Block(), "asau").sites] == ["act", "act_2"]


def test_the_advice_where_channels_cannot_be_told_can_be_followed(x):
    model = Block()
    assert [site.path for site in limen.swap_(model, "asau", num_parameters="channel", example_inputs=x).sites] == [
        "act_2"
    ]
    model = Block()
    with pytest.raises(LimenError, match="give example_inputs="):
        limen.swap_(model, "asau", num_parameters="channel")
    with pytest.raises(LimenError, match=r"no example input reaches.*keep="):
        limen.swap_(model, "asau", num_parameters="channel", example_inputs=x, where="act*")
    limen.swap_(model, "asau", num_parameters="channel", example_inputs=x, where="act*", keep="act")
