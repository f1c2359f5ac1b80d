"""Whatever a spec says, it makes an activation or ends in one short sentence."""

from __future__ import annotations

import inspect

import pytest

import limen
from limen.activations.registry import create, find, names
from limen.errors import SpecError
from limen.naming import LONGEST

VALUES = (
    "99999999999999999999", "9" * 400, "1e400", "nan", "-inf", "-1", "0", "1e-320", "1e308", "true", "none", "abc",
    "a+b", "relu", "1+2", "1.5", "+", "adact", "½", "١", "0x10", "cuda", "meta", "relu:lower=1",
)  # fmt: skip
BROKEN = (
    "", ":", "asau:=", "asau:beta", "asau:beta==1", "asau:beta=1,beta=2", "\0", "asau:__init__=1", "asau:self=1",
    "a" * 100_000, "asau:" + "x" * 100_000 + "=1", "asau:beta=" + "9" * 5000,
)  # fmt: skip


def refusal(spec: str) -> str:
    """What is said of a spec; nothing where it makes an activation that can be shown."""
    try:
        shown = repr(create(spec))
    except SpecError as error:
        return str(error)
    assert len(shown) < 500
    return ""


@pytest.mark.parametrize("name", names())
def test_every_argument_with_every_kind_of_value(name):
    arguments = [key for key in inspect.signature(find(name)).parameters if key not in ("values", "named")]
    said = [refusal(f"{name}:{argument}={value}") for argument in arguments for value in VALUES]
    assert all("\n" not in one and len(one) < 1500 for one in said)
    assert any(said) or not arguments


@pytest.mark.parametrize("spec", BROKEN)
def test_broken_specs(spec):
    assert 0 < len(refusal(spec)) < 2 * LONGEST


@pytest.mark.parametrize(
    ("spec", "said"),
    {
        "asau:device=cuda": "device=",
        "asau:dtype=int8": "is not a type of parameters",
        "asau:learned=3": "True, False, or names",
        "adact:candidates=3": "must be names, specs or activations",
        "asau:num_parameters=99999999999999999999": "at most 16,777,216",
        "asau:channel_dim=1.5": "the number of an axis",
        "asau:beta=1e308": "beyond the range of its type, float32",
    }.items(),
)
def test_what_is_said(spec, said):
    with pytest.raises(SpecError, match=said):
        create(spec)


def test_a_spec_may_name_the_type_of_its_parameters():
    made = limen.create("asau:beta=1e300,dtype=float64")
    assert str(made.beta.dtype) == "torch.float64"
    assert made.beta.item() == 1e300
