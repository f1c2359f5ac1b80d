"""Which sites stay by default, and how many parameters a site can be given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import limen
from limen.errors import SpecError


class TanhCell(nn.Module):
    """Recurrent by its name alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.last = nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.layer(x)))


class Squashing(TanhCell):
    """The same under a name that says nothing."""


def test_a_tanh_in_what_is_named_after_a_cell_stays() -> None:
    report = limen.swap_(nn.ModuleList([TanhCell(), Squashing()]), "asau")
    assert [site.path for site in report.sites] == ["1.act"]
    assert {site.path: site.reason for site in report.skipped} == {"0.act": "a gate in a recurrent cell"}


@pytest.mark.parametrize("wanted", [0, -1, True, 1.5])
def test_a_number_of_parameters_that_cannot_be(wanted: object) -> None:
    with pytest.raises(SpecError, match=f"num_parameters={wanted!r} is not possible"):
        limen.swap_(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "asau", num_parameters=wanted)


def test_one_parameter_is_a_number_that_can_be() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    limen.swap_(model, "asau", num_parameters=1)
    assert model[1].num_parameters == 1
