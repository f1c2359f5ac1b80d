"""Which places are meant, and which hold a module besides."""

from __future__ import annotations

import pytest
from torch import nn

import limen
from limen.errors import SpecError


class Listed(nn.Module):
    """Its activation lies in a list, too, beside what is no collection."""

    def __init__(self):
        super().__init__()
        self.width = 4
        self.layer, self.act = nn.Linear(4, 4), nn.ReLU()
        self.acts = [self.act, None]

    def forward(self, x):
        return self.acts[0](self.layer(x)) + self.act(x)


def test_a_list_beside_numbers_has_the_new_one():
    model = Listed()
    limen.swap_(model, "asau")
    assert model.acts == [model.act, None]
    assert isinstance(model.act, limen.ASAU)


def test_a_function_of_path_module_and_parent_says_what_is_meant():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.ReLU())
    report = limen.swap_(model, "asau", where=lambda path, module, parent: parent is model)
    assert [site.path for site in report.sites] == ["1"]
    limen.swap_(model, "ash", where=lambda path, module: path == "0.1")
    assert [type(model[0][1]), type(model[1])] == [limen.ASH, limen.ASAU]


@pytest.mark.parametrize(("count", "said"), [(20, "Did you mean '1'"), (21, "The first: 0, 1, 2, ")])
def test_of_many_sites_the_first_are_named(count: int, said: str):
    model = nn.Sequential(*(nn.ReLU() for _ in range(count)))
    with pytest.raises(SpecError, match=rf"none of the model's {count} sites\. {said}"):
        limen.swap_(model, "asau", where="1x")
