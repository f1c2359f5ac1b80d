"""What a page computes is what torch computes, in float64, for every activation."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from typing import Any

import pytest
import torch
from helpers import KEEPING_SHAPE, thoroughly
from torch import Tensor

import limen
from limen.activations.registry import find
from limen.errors import SpecError
from limen.explore.functions import Input, Traced, printed, traced
from limen.explore.javascript import ELEMENTARY, literal

NODE = shutil.which("node")
CURVED = tuple(name for name in KEEPING_SHAPE if not find(name).plain_only)
USUALLY = ("apalu", "asau", "ash", "hard_ash", "relu", "rrelu", "elu", "gelu", "mish", "adact")
"""Among them every operation; the others are tried in `make test-thorough`."""
USUAL = [x / 8 + 1 / 64 for x in range(-64, 64)]
SIZES = (0.0, 5e-324, 1e-160, 1e-9, 3.0, 6.0, 9.99, 10.01, 37.0, 720.0, 1e5, 1e17, 1e102, 1e200, 1e300, math.inf)
"""To the last power of ten at which a few times x still is a number."""
EXTREMES = [sign * size for size in SIZES for sign in (1.0, -1.0)] + [math.nan]
MEAN, STD = 0.4, 1.7
PROGRAM = """
const told = v => Number.isFinite(v) ? v : String(v);
const f = %s, [xs, p] = %s.map(list => list.map(Number));
const all = [f.value, f.slope, f.curvature, ...f.by.map(one => one.value)];
console.log(JSON.stringify(all.map(g => xs.map(x => told(g(x, p, %r, %r))))));
"""


def moved(inputs: tuple[Input, ...]) -> list[float]:
    """Values other than the first ones, each within its slider."""
    found = []
    for place, one in enumerate(inputs):
        wanted = one.value + 0.15 + 0.1 * place
        found.append(wanted if one.low < wanted < one.high else one.value)
    return found


def in_torch(found: Traced, xs: list[float], monkeypatch: pytest.MonkeyPatch) -> list[Tensor | None]:
    """Value, slope, second derivative and the derivative by each input, by autograd through the formula."""
    bound = limen.create(found.name).eval().bind(training=False)
    x = torch.tensor(xs, dtype=torch.float64, requires_grad=True)
    inputs = [torch.full_like(x, value).requires_grad_() for value in moved(found.inputs)]
    statistics = [torch.full_like(x, value).requires_grad_() for value in (MEAN, STD)]
    for function, value in zip(("mean", "std"), statistics, strict=True):
        monkeypatch.setattr(f"limen.activations.ash.{function}", lambda x, context, value=value: value)
    given: dict[str, Any] = dict(bound.constants)
    shares = torch.stack(inputs[: bound.weights]).softmax(0).unbind() if bound.weights else ()
    symbols = found.symbols[bound.weights :]
    given |= {f"w{place}": share for place, share in enumerate(shares)}
    given |= dict(zip(symbols, inputs[bound.weights :], strict=True))
    if found.name == "softplus":  # torch's own takes a number
        given["beta"] = inputs[0][0].item()
    y = bound.function(x, **given)
    by = [x, *inputs, *(statistics if found.statistics else ())]
    slope, *rest = torch.autograd.grad(y.sum(), by, create_graph=True, allow_unused=True)
    curvature = torch.zeros_like(x)
    if slope.requires_grad:
        (second,) = torch.autograd.grad(slope.sum(), x, allow_unused=True)
        curvature = curvature if second is None else second
    return [y, slope, curvature, *rest]


def in_node(name: str, xs: list[float], parameters: list[float]) -> Tensor:
    """The same by the printed functions."""
    if NODE is None:
        pytest.skip("node is not installed, which computes what a page would")
    given = json.dumps([list(map(spelled, xs)), list(map(spelled, parameters))])
    program = ELEMENTARY.read_text(encoding="utf-8") + PROGRAM % (printed(name), given, MEAN, STD)
    done = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return torch.tensor([list(map(float, row)) for row in json.loads(done.stdout)], dtype=torch.float64)


def spelled(value: float) -> str:
    return literal(value).strip("()")


def same(got: Tensor, want: Tensor, terms: Tensor) -> Tensor:
    """As torch has it, up to the rounding of terms of that size, which cancel."""
    return (got - want).abs() <= 1e-12 * (want.abs() + terms)


@pytest.mark.parametrize("name", thoroughly(CURVED, USUALLY))
def test_the_page_has_torchs_numbers(name, monkeypatch):
    found, xs = traced(name), torch.tensor(USUAL + EXTREMES, dtype=torch.float64)
    ours = in_node(name, xs.tolist(), moved(found.inputs))
    theirs = in_torch(found, xs.tolist(), monkeypatch)
    assert len(ours) == len(theirs)
    size = torch.where(xs.isinf(), 1.0, xs.abs().clamp(min=1e-3))
    for row, (got, want) in enumerate(zip(ours, theirs, strict=True)):
        if want is None:  # softplus's sharpness, which torch takes as a number
            continue
        finite = want.isfinite() & ~xs.isnan()
        wrong = finite & ~same(got, want.detach(), torch.ones_like(xs) if row in (1, 2) else size)
        assert not wrong.any(), (row, xs[wrong], got[wrong], want[wrong])
    value = theirs[0]
    assert torch.equal(ours[0][value.isnan()].isnan(), value[value.isnan()].isnan())


def test_a_number_is_printed_exactly():
    for value in (0.1, -5e-324, 1e308, 1 / 3, -0.0):
        assert json.loads(literal(value).strip("()")) == value
        assert literal(value).startswith("(-") == (math.copysign(1, value) < 0)


@pytest.mark.parametrize(("spec", "why"), [("maxout", "changes the shape"), ("top_percentile", "by sorting"),
                                           ("asua", "'asau'")])  # fmt: skip
def test_what_has_no_curve_says_why(spec, why):
    with pytest.raises(SpecError, match=why):
        printed(spec)


def test_an_input_begins_where_the_spec_says_and_keeps_its_bounds():
    beta = next(one for one in traced("asau:beta=2.5").inputs if one.name == "beta")
    assert (beta.value, beta.low < 2.5 < beta.high) == (2.5, True)
    (leak,) = (one for one in traced("leaky_ash").inputs if one.name == "leak")
    assert (leak.low, leak.high) == (0.0, 1.0)
    (sharp,) = traced("softplus").inputs
    assert 0 < sharp.low < sharp.value
