"""Which sites are replaced: those named by where, not those in keep, and nothing where a name is wrong."""

from __future__ import annotations

import nasty
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError, SpecError


def test_a_class_in_where_selects_calls_too(inputs):
    report = limen.swap_(nasty.Functions(), "asau", where=nn.LeakyReLU)
    assert [site.before for site in report.sites] == ["LeakyReLU(negative_slope=0.2)"]


def test_a_path_that_fits_nothing_is_an_error():
    with pytest.raises(SpecError, match=r"where='relu_9' fits none of the model's 9 sites\. Did you mean 'relu_"):
        limen.swap_(nasty.Functions(), "asau", where="relu_9")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["rleu_1"]}, r"keep='rleu_1' fits none of the model's 9 sites\. Did you mean 'relu_"),
        ({"where": ["relu_1", 3]}, "where=3 says of no site"),
        ({"where": 3}, "where=3 says of no site"),
        ({"keep": None}, "keep=None says of no site"),
        ({"keep": nn.ReLU()}, r"keep=ReLU\(\) says of no site"),
    ],
)
def test_a_choice_that_means_nothing_is_an_error(options, message):
    model = nasty.Functions()
    with pytest.raises(SpecError, match=message):
        limen.swap_(model, "asau", **options)
    assert type(model) is nasty.Functions


class Index(nn.Module):
    """A layer in front and a name in where do not make an index an activation's input."""

    def __init__(self):
        super().__init__()
        self.table, self.act = nn.Embedding(4, 4), nn.ReLU()

    def forward(self, index):
        return F.relu(self.table(self.act(index - 1)))


def test_integers_are_no_input_for_an_activation():
    model, index = Index().eval(), torch.tensor([0, 1, 4])
    report = limen.swap_(model, "asau", where="*", example_inputs=index)
    assert [site.path for site in report.sites] == ["relu_1"]
    assert [(site.path, site.reason) for site in report.skipped] == [("act", "its input is a tensor of integers")]
    assert type(model.act) is nn.ReLU
    assert model(index).shape == (3, 4)


def test_guards_are_replaced_when_named(inputs):
    report = limen.swap_(nasty.Guards(), "asau", where="*")
    assert len(report.sites) == 4


@pytest.mark.parametrize("examples", [(), (torch.ones(2, 4), torch.ones(2, 4))])
def test_examples_that_do_not_fit_are_an_error(examples):
    with pytest.raises(LimenError, match=rf"holds {len(examples)} arguments, and the model's forward\(x\) does not"):
        limen.swap_(nasty.Functions(), "asau", example_inputs=examples)


def test_what_is_no_model_is_an_error():
    with pytest.raises(LimenError, match=r"an nn\.Module, and str was given"):
        limen.swap_("x", "asau")


def test_gates_are_replaced_when_named(inputs):
    model = nasty.Gates()
    report = limen.swap_(model, "asau", where="sigmoid_*", example_inputs=inputs)
    assert len(report.sites) == 3


def test_gates_are_kept_with_the_reason():
    reasons = [site.reason for site in limen.swap_(nasty.Gates(), "asau").skipped]
    assert sum("output head" in reason for reason in reasons) == 1
    assert sum("recurrent" in reason for reason in reasons) == 1
    assert sum("weighs several" in reason for reason in reasons) == 1
    assert sum(reason == "a gate, not an activation" for reason in reasons) == 3
