"""What arguments are allowed, which parameters learn, and how they are documented."""

from __future__ import annotations

import inspect

import pytest
import torch
from helpers import BUILT_IN

import limen
from limen.activations.fields import Constant, Count
from limen.activations.registry import find
from limen.activations.spec import _written
from limen.errors import SpecError

LEARNED = {
    "ash": {"z_k", "alpha"},
    "leaky_ash": {"z_k", "alpha"},
    "hard_ash": set(),
    "fixed_ash": {"alpha"},
    "asau": {"alpha", "beta"},
    "apalu": {"a", "b"},
    "prelu": {"weight"},
    "swish": {"beta"},
    "acon": {"p1", "p2", "beta"},
    "adact": {"logits", "candidates.3.weight"},
}


@pytest.mark.parametrize("name", LEARNED)
def test_what_learns_by_default(name: str) -> None:
    assert {parameter for parameter, _ in limen.create(name).named_parameters()} == LEARNED[name]


def test_the_defaults_of_acon() -> None:
    made = limen.create("acon")
    assert {name: value.item() for name, value in made.named_parameters()} == {"p1": 1.0, "p2": 0.0, "beta": 1.0}


def test_bounds_hold_strictly_unless_inclusive() -> None:
    for bound in (0.0, 1.0):
        assert Constant(0.5, above=0.0, below=1.0, inclusive=True).check("Bent", "by", bound) == bound
        with pytest.raises(SpecError, match=r"must lie between 0\.0 and 1\.0, both excluded"):
            Constant(0.5, above=0.0, below=1.0).check("Bent", "by", bound)
        assert limen.create("leaky_ash", leak=bound).leak == bound
    assert Constant(0.5, below=1.0).check("Bent", "by", -1e30) == -1e30
    assert Constant(0.5, above=0.0).check("Bent", "by", 1e30) == 1e30


def test_a_count_begins_at_one_unless_said_otherwise() -> None:
    assert Count(3).check("Bent", "pieces", 1) == 1
    with pytest.raises(SpecError, match="pieces=0 must be a whole number of at least 1"):
        Count(3).check("Bent", "pieces", 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (True, "true"), (False, "false"), (0.25, "0.25"), ("token", "token"), (("relu", "U"), "relu+U")],
    ids=repr,
)
def test_values_are_written_as_they_are_read(value: object, text: str) -> None:
    assert _written("Bent", value) == text


@pytest.mark.parametrize("name", BUILT_IN)
def test_functions_are_documented_as_their_modules(name: str) -> None:
    function, cls = getattr(limen.functional, name, None), find(name)
    if function is None:
        return
    first = (inspect.getdoc(cls) or "").split("\n")[0]
    lines = (inspect.getdoc(function) or "").split("\n")
    assert first
    assert lines[0] == first
    assert lines[-1] == ("torch.Size([2, 6])" if cls.keeps_shape else "torch.float32")


def test_without_groups_nothing_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limen.Activation, "_by_channel", None)  # what would repeat it
    assert limen.ASAU(num_parameters=3)(torch.zeros(2, 3)).shape == (2, 3)
    with pytest.raises(TypeError):
        limen.ASAU(num_parameters=3, group_size=2)(torch.zeros(2, 6))


def test_a_mixture_loaded_in_part_keeps_its_weighting() -> None:
    made = limen.AdAct()
    weighting = made.shape_weights()
    made.load_state_dict({}, strict=False)
    assert made.weighting is weighting
    made.load_state_dict({"logits": torch.arange(7.0)}, strict=False)
    assert made.weighting is None


def test_candidates_put_in_later_are_held_as_candidates() -> None:
    made = limen.AdAct()
    held = type(made.candidates)
    made.candidates = torch.nn.ModuleList([limen.create(name) for name in made.names])
    assert type(made.candidates) is held
    again = made.candidates
    made.candidates = again
    assert made.candidates is again


@pytest.mark.parametrize(("recording", "free"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_mixture_learns_where_gradients_are_recorded_and_its_logits_take_them(recording: bool, free: bool) -> None:
    made = limen.AdAct()
    made.logits.requires_grad_(free)
    with torch.set_grad_enabled(recording):
        assert made._learns() is (recording and free)
