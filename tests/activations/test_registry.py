"""Names, specs and the functions beside the modules."""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys

import pytest
import sympy
import torch
from helpers import ALL, KEEPING_SHAPE, activation, sample_input
from hypothesis import given
from hypothesis import strategies as st

import limen
from limen.activations.describe import describe, expression
from limen.activations.registry import find
from limen.errors import SpecError
from limen.naming import parse, split_list


def test_the_published_names_are_there():
    expected = (
        "ash leaky_ash hard_ash fixed_ash top_percentile asau apalu adact relu leaky_relu prelu rrelu softplus elu "
        "selu gelu swish silu mish maxout acon"
    )
    assert set(expected.split()) <= set(limen.names())


@pytest.mark.parametrize("name", ALL)
def test_every_class_is_public_and_described(name):
    cls = find(name)
    assert getattr(limen, cls.__name__) is cls
    described = describe(name)
    assert described.formula
    assert described.source
    assert len(described.summary.split()) > 1
    assert ">>>" in inspect.getdoc(cls)


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_functions_equal_modules(name):
    module = activation(name, dtype=torch.float64)
    x = sample_input(3, 5)
    function = getattr(limen.functional, name)
    if name == "adact":
        y = function(x, module.logits, module.candidates[3].weight)
    else:
        y = function(x, **module.parameter_values())
    torch.testing.assert_close(y, module(x))


def test_functions_take_one_value_a_channel():
    x = sample_input(2, 3, 4)
    beta = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = limen.functional.swish(x, beta)
    torch.testing.assert_close(y[:, 1], x[:, 1] * torch.sigmoid(2 * x[:, 1]))
    y.sum().backward()
    assert beta.grad.shape == (3,)


def test_function_errors():
    with pytest.raises(SpecError, match="gamma"):
        limen.functional.asau(torch.ones(1), gamma=2)
    with pytest.raises(SpecError, match="'x' was given"):
        limen.functional.asau(torch.ones(1), "x")
    with pytest.raises(limen.errors.ShapeError, match=r"shape \(2, 4\)"):
        limen.functional.asau(torch.ones(2, 8), torch.ones(2, 4))
    with pytest.raises(limen.errors.ShapeError, match="3 parameters"):
        limen.functional.asau(torch.ones(2, 8), torch.ones(8), torch.ones(3))
    with pytest.raises(AttributeError, match="sofplus"):
        limen.functional.sofplus  # noqa: B018
    with pytest.raises(limen.errors.ShapeError, match="7 candidates"):
        limen.functional.adact(torch.ones(1), torch.zeros(3))
    with pytest.raises(SpecError, match="1 parameters of their own"):
        limen.functional.adact(torch.ones(1), torch.zeros(7), 0.1, 0.2)


def test_rrelu_function_draws_only_in_training():
    x = -torch.ones(100)
    assert limen.functional.rrelu(x, training=True).unique().numel() > 50
    assert limen.functional.rrelu(x).unique().numel() == 1


class TestSpecs:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("asua", "Did you mean 'asau'?"),
            ("asau:betta=2", "Did you mean 'beta'? (in the spec 'asau:betta=2')"),
            ("asau:beta", "'beta' is not of the form argument=value"),
            ("asau:beta=2,beta=3", "'beta' is given twice"),
            ("asau:beta=__import__('os')", "must be a finite number"),
            ("", "no activation is called ''"),
            ("adact:candidates=relu", "at least two"),
            ("adact:candidates=relu+sillu", "Did you mean 'silu'?"),
            ("ash:context=sampel", "Did you mean 'sample'?"),
            ("adact:candidats=relu+silu", "no argument 'candidats'. Did you mean 'candidates'?"),
            ("adact:learned=false", "AdAct has no argument 'learned'."),
        ],
    )
    def test_errors(self, spec, message):
        with pytest.raises(SpecError) as caught:
            limen.create(spec)
        assert message in str(caught.value)

    def test_a_form_may_be_called_none(self):
        assert limen.create("gelu:approximate=none").approximate == "none"
        assert limen.NormAct(torch.nn.LayerNorm(4), torch.nn.GELU())(torch.ones(2, 4)).tolist() == [[0.0] * 4] * 2

    def test_learned_none_learns_nothing(self):
        for spec in ("asau:learned=none", "asau:learned=None", "asau:learned=false"):
            assert list(limen.create(spec).parameters()) == []
        assert list(limen.create("asau", learned=None).parameters())  # Python's None is the argument's default

    def test_values(self):
        assert parse("x:a=1,b=1e-3,c=true,d=None,e=word,f=p+q") == (
            "x",
            {"a": 1, "b": 1e-3, "c": True, "d": None, "e": "word", "f": ("p", "q")},
        )

    def test_lists_keep_arguments_with_their_activation(self):
        text = "relu, asau:alpha=2,learned=beta ,adact:candidates=relu+swish:beta=2,mish"
        assert split_list(text) == ("relu", "asau:alpha=2,learned=beta", "adact:candidates=relu+swish:beta=2", "mish")

    @given(st.text(max_size=30))
    def test_no_text_does_anything_but_build_or_explain(self, text):
        with contextlib.suppress(SpecError):
            assert isinstance(limen.create(text), limen.Activation)

    def test_names_are_unique_and_well_formed(self):
        for name in ("relu", "Not A Name", ""):
            with pytest.raises(SpecError):
                limen.register(name)(limen.ReLU)


class TestSymbols:
    """The same formula on symbols gives the same numbers."""

    POINTS = (-7.5, -1.0, -0.3, 0.0, 0.4, 1.0, 6.0)
    MODULES = (
        {
            "sigmoid": lambda u: 1 / (1 + sympy.exp(-u)),
            "sigmoid_slope": lambda u: 1 / (1 + sympy.exp(-u)) / (1 + sympy.exp(u)),
            "softplus": lambda u: sympy.log(1 + sympy.exp(u)),
            "tanh_slope": lambda u: 1 - sympy.tanh(u) ** 2,
            "expm1": lambda u: sympy.exp(u) - 1,
            "absolute": sympy.Abs,
            "maximum": sympy.Max,
            "minimum": sympy.Min,
        },
        "sympy",
    )

    @pytest.mark.parametrize("name", [n for n in KEEPING_SHAPE if not find(n).written and find(n).elementwise])
    def test_expression_has_the_values_of_the_tensors(self, name):
        module = activation(name, dtype=torch.float64)
        arguments = {**{k: v.item() for k, v in module.parameter_values().items()}, **module.initial, "noise": 0.5}
        traced = expression(find(name))
        symbols = sorted(traced.free_symbols, key=str)
        function = sympy.lambdify(symbols, traced, modules=list(self.MODULES))
        for x in self.POINTS:
            symbolic = function(*(x if str(s) == "x" else arguments[str(s)] for s in symbols))
            assert float(sympy.N(symbolic)) == pytest.approx(
                module(torch.tensor(x, dtype=torch.float64)).item(), abs=1e-12
            )

    def test_derivative_of_asau_is_the_reference_one(self):
        traced = expression(limen.ASAU)
        x, beta = sympy.Symbol("x", real=True), sympy.Symbol("beta", real=True)
        derivative = sympy.lambdify(
            [sympy.Symbol(s, real=True) for s in ("x", "a", "b", "alpha", "beta")],
            [sympy.diff(traced, x), sympy.diff(traced, beta)],
            modules=list(self.MODULES),
        )
        slope, by_beta = (float(sympy.N(value)) for value in derivative(-1.0, 0.01, 1.0, 1.0, 1.0))
        assert slope == pytest.approx(0.072108793870415834, rel=1e-12)
        assert by_beta == pytest.approx(0.24068294020139976, rel=1e-12)

    def test_primitives_work_on_numbers(self):
        assert limen.formula.softplus(0.0) == pytest.approx(0.6931471805599453)
        assert limen.formula.maximum(2.0, 3.0) == 3.0


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_it_does_not_need():
    heavy = "{'torch', 'sympy', 'triton', 'numpy', 'lightning', 'matplotlib', 'pydantic', 'typer'}"
    assert run_python(f"import sys, limen; print(sorted({heavy} & set(sys.modules)))") == "[]"
    code = f"import torch, sys; before = set(sys.modules); import limen; limen.ASAU(); limen.swap_; \
        print(sorted(({heavy} & set(sys.modules)) - before))"
    assert run_python(code) == "[]"
    assert "ASAU" in dir(limen)
