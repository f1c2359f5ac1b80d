"""Which path runs: chosen by the user, by the tensors, by what the formula and the machine allow."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from helpers import ALL

import limen
from limen.activations.registry import find
from limen.kernels import dispatch
from limen.kernels.bound import BoundFormula, shared
from limen.kernels.c import calls as c_calls


def test_plain_and_c_are_really_different_paths(monkeypatch):
    calls = []
    original = c_calls.run_forward
    monkeypatch.setattr(c_calls, "run_forward", lambda *a: calls.append(1) or original(*a))
    x = torch.randn(40_000)
    with limen.use_backend("plain"):
        limen.ASAU()(x)
    assert not calls
    with limen.use_backend("c"):
        limen.ASAU()(x)
    assert calls
    limen.ASAU()(x.double())
    assert len(calls) == 1


def test_names():
    with pytest.raises(limen.errors.SpecError, match="Did you mean 'plain'"), limen.use_backend("plan"):
        pass


def test_insisting_on_c_says_why_it_cannot_be():
    with limen.use_backend("c"):
        with pytest.raises(limen.errors.LimenError, match="float64"):
            limen.ASAU()(torch.zeros(2, dtype=torch.float64))
        with pytest.raises(limen.errors.LimenError, match="selects the largest"):
            limen.TopPercentile()(torch.zeros(2, 3))


def test_a_formula_that_cannot_be_traced_says_so_once():
    class Odd(limen.Activation):
        @staticmethod
        def formula(x):
            return x if x.sum() > 0 else 2 * x

    module = Odd()
    with pytest.warns(UserWarning, match=r"Odd.formula runs on torch's operators.*does not become an expression"):
        assert module(torch.ones(3)).tolist() == [1.0] * 3
    assert module(-torch.ones(3)).tolist() == [-2.0] * 3  # filterwarnings=error: a second warning would fail here
    assert "expression" in dispatch.why_no_kernel(module.bind(training=True))


@pytest.mark.thorough
@pytest.mark.parametrize("compiler", ["/bin/false", "/no/such/compiler"])
def test_without_a_compiler_one_warning_and_the_plain_path(compiler, tmp_path):
    code = (
        "import warnings, torch, limen\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    y = [limen.create(n)(torch.ones(2, 4)) for n in ('asau', 'ash', 'asau')]\n"
        "print(len(caught), str(caught[0].message))\n"
    )
    environment = {"LIMEN_CC": compiler, "LIMEN_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("1 limen runs on torch's operators, without kernels:")
    assert compiler in done.stdout


def test_everything_registered_is_compiled_or_says_why_not():
    for name in ALL:
        reason = dispatch.why_no_kernel(limen.create(name).bind(training=True))
        assert bool(reason) == bool(find(name).plain_only)


def test_no_elements_need_no_kernel():
    with limen.use_backend("c"):
        assert limen.ASAU()(torch.zeros(0, 3, dtype=torch.float64)).shape == (0, 3)


def test_formulas_bound_alike_are_one_whatever_is_kept_on_them():
    one, other = BoundFormula(abs), BoundFormula(abs)
    one.short_calls[torch.float32] = "kept"
    assert one == other
    assert shared(one) is shared(other)
