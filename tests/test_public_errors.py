"""Every public name documents the errors that it raises, and each error documented is provoked here."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from functools import cache, partial
from types import FunctionType
from typing import Any

import pytest
import torch
from helpers_public import EVERYTHING, FUNCTIONS, OPERATIONS, doc_of
from torch import nn

import limen
from limen import errors


@cache
def raised_in(function: FunctionType) -> frozenset[str]:
    """The errors that a function of limen raises by name, itself or in functions of its package that it calls."""
    return frozenset(_raised(function, set()))


def _raised(function: Any, seen: set[Any]) -> Iterator[str]:
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or function in seen or function.__code__.co_filename.startswith("<"):
        return
    seen.add(function)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            raised = function.__globals__.get(node.exc.func.id, getattr(builtins, node.exc.func.id, None))
            yield raised.__name__ if isinstance(raised, type) else raised.__annotations__["return"]
        elif isinstance(node, ast.Call):
            called = callee(node.func, function)
            if (getattr(called, "__module__", None) or "").startswith(PACKAGES):
                yield from _raised(called.__init__ if isinstance(called, type) else called, seen)


def callee(expression: ast.expr, function: FunctionType) -> Any:
    """What a call in a function's source calls: ``name(…)``, ``Class.name(…)`` or ``self.name(…)``."""
    if isinstance(expression, ast.Name):
        return function.__globals__.get(expression.id)
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        own = function.__qualname__.partition(".")[0]
        owner = function.__globals__.get(own if expression.value.id in ("self", "cls") else expression.value.id)
        return getattr(owner, expression.attr, None) if isinstance(owner, type) else None
    return None


PACKAGES = tuple(
    f"limen.{name}"
    for name in ("activations", "adapters", "deploy", "errors", "formula", "functional", "initialization", "inspect",
                 "kernels.dispatch", "selection", "surgery.report", "surgery.swapping", "training", "warmstart")
)  # fmt: skip


def documented_errors(item: Any) -> set[str]:
    """The names in the section ``Raises:``."""
    section = re.search(r"Raises:\n((?:(?: {4}.*)?(?:\n|$))+)", doc_of(item))
    return set(re.findall(r"^ {4}(\w+): ", section[1], re.MULTILINE)) if section else set()


FAILING = {
    path: item
    for path, item in OPERATIONS.items()
    if item not in FUNCTIONS and raised_in(item.__init__ if isinstance(item, type) else item)
}


def test_the_rule_of_errors_finds_some():
    assert len(FAILING) > 50


ELSEWHERE = {
    # The percentile is that of a module, which has checked it.
    "limen.inspect.statistics": {"SpecError"},
    # Raised by what is registered, when a model asks for it.
    "limen.adapters.monai.register": {"SpecError"},
    "limen.adapters.transformers.register": {"LimenError"},
}


def error(name: str) -> type[Exception]:
    return getattr(errors, name, None) or getattr(builtins, name)


@pytest.mark.parametrize("path", FAILING)
def test_what_raises_says_what(path):
    """Every error in the source of a function, and of what it calls, or a base class of it."""
    item = FAILING[path]
    told = tuple(map(error, documented_errors(item)))
    raised = raised_in(item.__init__ if isinstance(item, type) else item) - ELSEWHERE.get(path, set())
    untold = {name for name in raised if not issubclass(error(name), told)}
    assert not untold


@pytest.mark.parametrize("path", [path for path, item in EVERYTHING.items() if "Raises:" in doc_of(item)])
def test_the_errors_named_exist(path):
    found = documented_errors(EVERYTHING[path])
    assert found
    for name in found:
        assert issubclass(error(name), Exception)


def outcome(function: Any, *arguments: Any) -> str:
    """The name of the error that a call ends with; empty if it ends well."""
    try:
        function(*arguments)
    except errors.LimenError as found:
        return type(found).__name__
    return ""


def raises(with_wrong_value: Any, on: Any) -> set[str]:
    """The errors of a call with a wrong value, and of calls on integers and on inputs of other shapes."""
    integers = torch.zeros(2, 4, dtype=torch.int64)
    shapes = (2, 5), (2, 3), ()
    return {outcome(with_wrong_value), *(outcome(on, x) for x in (integers, *map(torch.zeros, shapes)))} - {""}


@pytest.mark.parametrize("name", limen.names())
def test_activations_raise_the_errors_that_their_docstrings_name_and_no_others(name):
    module = limen.create(name, num_parameters=4)
    assert raises(lambda: type(module)(num_parameters=0), module) == documented_errors(type(module))


@pytest.mark.parametrize("name", limen.names())
def test_their_functions_do_so_too(name):
    function = getattr(limen.functional, name)
    parameters = {key: torch.ones(4) for key in limen.create(name).params}
    if function is limen.functional.adact:
        parameters = {"logits": torch.zeros(4, 7)}
    wrong = {**parameters, "candidates" if function is limen.functional.adact else "nothing": ["relu"]}
    found = raises(lambda: function(torch.zeros(2, 4), **wrong), lambda x: function(x, **parameters))
    assert found == documented_errors(function)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def searched() -> nn.Sequential:
    model = network()
    limen.swap_(model, lambda: limen.AdAct(("silu", "relu")))
    return model


def unregistered() -> nn.Sequential:
    class Odd(limen.Activation):
        @staticmethod
        def formula(x):
            return -x

    return nn.Sequential(limen.AdAct((Odd(), limen.SiLU())))


def twice_swapped() -> limen.SwapReport:
    model = network()
    report = limen.swap_(model, "swish")
    limen.swap_(model, "mish")
    return report


def without_libraries(function: Any, *arguments: Any) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limen.errors.importlib.import_module", missing)
        function(*arguments)


def in_block(manager: Any, inside: Any = lambda: None) -> None:
    with manager:
        inside()


def register_what_is_unknown() -> None:
    pytest.importorskip("transformers")
    try:
        ADAPTERS["transformers"].register("asua")
    finally:
        ADAPTERS["transformers"].unregister()


def watched() -> limen.inspect.Watch:
    with limen.inspect.watch(nn.Sequential(limen.Swish())) as seen:
        seen.note()
    return seen


def plan() -> limen.Plan:
    return limen.select(searched())


def of_integers(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int64)


ADAPTERS = {
    name: importlib.import_module(f"limen.adapters.{name}")
    for name in ("captum", "monai", "opacus", "timm", "torch_pruning", "transformers")
}


def fused_and_changed() -> limen.FuseReport:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())
    report = limen.fuse_(model)
    model.__class__ = nn.Sequential
    return report


def simplified_and_swapped() -> limen.SimplifyReport:
    model = nn.Sequential(limen.Swish())
    report = limen.simplify_(model, 1e-3)
    limen.swap_(model, "mish")
    return report


selection, inspection = limen.selection, limen.inspect
WRONG_SAMPLES = torch.ones(8)
GOOD_SAMPLES = torch.linspace(-1, 1, 8)
PROVOKED: dict[tuple[str, str], Any] = {
    ("limen.GLU", "DtypeError"): lambda: limen.GLU("silu")(of_integers(8), of_integers(8)),
    ("limen.GLU", "ShapeError"): lambda: limen.GLU("silu")(torch.zeros(2, 3), torch.zeros(3)),
    ("limen.GLU", "SpecError"): lambda: limen.GLU("maxout"),
    ("limen.BiasAct", "SpecError"): lambda: limen.BiasAct("relu", 0),
    ("limen.BiasAct", "ShapeError"): lambda: limen.BiasAct("relu", 3)(torch.zeros(2, 4)),
    ("limen.ResidualAct", "SpecError"): lambda: limen.ResidualAct("maxout"),
    ("limen.ResidualAct", "ShapeError"): lambda: limen.ResidualAct("relu")(torch.zeros(2, 3), torch.zeros(3)),
    ("limen.fuse_", "LimenError"): lambda: limen.fuse_("resnet"),
    ("limen.FuseReport.undo", "LimenError"): lambda: fused_and_changed().undo(),
    ("limen.simplify_", "LimenError"): lambda: limen.simplify_(limen.Swish(), 1e-3),
    ("limen.simplify_", "SpecError"): lambda: limen.simplify_(nn.Sequential(limen.Swish()), 0),
    ("limen.SimplifyReport.undo", "LimenError"): lambda: simplified_and_swapped().undo(),
    ("limen.NormAct", "SpecError"): lambda: limen.NormAct(nn.Linear(2, 2), "relu"),
    ("limen.apply_", "PlanError"): lambda: limen.apply_(nn.Linear(2, 2), plan()),
    ("limen.apply_", "LimenError"): lambda: limen.apply_(network(), plan(), share="none"),
    ("limen.bake_", "PlanError"): lambda: limen.bake_(network()),
    ("limen.harvest", "PlanError"): lambda: limen.harvest(nn.Linear(2, 2)),
    ("limen.harvest", "SpecError"): lambda: limen.harvest(unregistered()[0].candidates[0]),
    ("limen.bake_", "SpecError"): lambda: limen.bake_(unregistered()),
    ("limen.create", "SpecError"): lambda: limen.create("asua"),
    ("limen.fit_", "DtypeError"): lambda: limen.fit_(limen.Swish(), torch.relu, of_integers(8)),
    ("limen.fit_", "SampleError"): lambda: limen.fit_(limen.Swish(), torch.relu, WRONG_SAMPLES),
    ("limen.fit_", "ShapeError"): lambda: limen.fit_(limen.Swish(), torch.sum, GOOD_SAMPLES),
    ("limen.gain", "SpecError"): lambda: limen.gain(torch.zeros_like),
    ("limen.init_", "LimenError"): lambda: limen.init_("relu"),
    ("limen.init_", "SampleError"): lambda: limen.init_(network(), torch.zeros(2, 4)),
    ("limen.percentile_to_z", "SpecError"): lambda: limen.percentile_to_z(100),
    ("limen.reestimate_batch_norm_", "SampleError"): lambda: limen.reestimate_batch_norm_(network(), []),
    ("limen.register", "SpecError"): lambda: limen.register("relu")(limen.SiLU),
    ("limen.select", "PlanError"): lambda: limen.select(network()),
    ("limen.select", "SpecError"): lambda: limen.select(searched(), rule="best"),
    ("limen.swap_", "LimenError"): lambda: limen.swap_("relu", "asau"),
    ("limen.swap_", "SampleError"): lambda: limen.swap_(
        network(), "asau", warm_start=True, example_inputs=torch.zeros(2, 4).fill_(torch.nan)
    ),
    ("limen.swap_", "SpecError"): lambda: limen.swap_(network(), "maxout"),
    ("limen.swap_norms_", "LimenError"): lambda: limen.swap_norms_(nn.LayerNorm(2)),
    ("limen.swap_norms_", "SpecError"): lambda: limen.swap_norms_(network(), "dty"),
    ("limen.swapped", "LimenError"): lambda: in_block(limen.swapped(network(), "asua")),
    ("limen.unregister", "SpecError"): lambda: limen.unregister("asua"),
    ("limen.use_backend", "LimenError"): lambda: in_block(
        limen.use_backend("c"), lambda: limen.ReLU()(torch.ones(2).double())
    ),
    ("limen.use_backend", "SpecError"): lambda: in_block(limen.use_backend("cuda")),
    ("limen.adapters.layer", "SpecError"): lambda: limen.adapters.layer("maxout"),
    ("limen.formula.mean", "ShapeError"): lambda: limen.formula.mean(torch.tensor(1.0)),
    ("limen.formula.over_rms", "ShapeError"): lambda: limen.formula.over_rms(torch.tensor(1.0)),
    ("limen.formula.rms", "ShapeError"): lambda: limen.formula.rms(torch.tensor(1.0)),
    ("limen.formula.std", "ShapeError"): lambda: limen.formula.std(torch.tensor(1.0)),
    ("limen.inspect.Watch", "SampleError"): lambda: inspection.Watch(nn.Linear(2, 2)),
    ("limen.inspect.Watch", "SpecError"): lambda: inspection.Watch(network(), every=0),
    ("limen.inspect.curves", "MissingExtraError"): lambda: without_libraries(inspection.curves, network()),
    ("limen.inspect.curves", "SampleError"): lambda: inspection.curves(nn.Linear(2, 2)),
    ("limen.inspect.plot", "SpecError"): lambda: inspection.plot("maxout"),
    ("limen.inspect.plot", "LimenError"): lambda: inspection.plot([]),
    ("limen.inspect.plot", "MissingExtraError"): lambda: without_libraries(inspection.plot, "relu"),
    ("limen.inspect.gradient_norms", "SampleError"): lambda: inspection.gradient_norms(network()),
    ("limen.inspect.statistics", "SampleError"): lambda: inspection.statistics(nn.Linear(2, 2), torch.zeros(1, 2)),
    ("limen.inspect.watch", "SampleError"): lambda: inspection.watch(nn.Linear(2, 2)),
    ("limen.inspect.watch", "SpecError"): lambda: inspection.watch(network(), every=0.5),
    ("limen.selection.merge", "PlanError"): lambda: selection.merge([]),
    ("limen.selection.merge", "SpecError"): lambda: selection.merge([plan()], rule="best"),
    ("limen.selection.discretisation_gap", "PlanError"): lambda: selection.discretisation_gap(network(), id),
    ("limen.selection.discretisation_gap", "SpecError"): lambda: selection.discretisation_gap(unregistered(), id),
    ("limen.selection.geometric", "SpecError"): lambda: selection.geometric(1.0, 0.0),
    ("limen.selection.HeldoutWeights", "PlanError"): lambda: selection.HeldoutWeights(network()),
    ("limen.selection.add_entropy_gradient", "PlanError"): lambda: selection.add_entropy_gradient(network(), 0.1),
    ("limen.selection.drop_hopeless_", "PlanError"): lambda: selection.drop_hopeless_(network(), 0.1),
    ("limen.selection.drop_hopeless_", "SpecError"): lambda: selection.drop_hopeless_(searched(), 1.0),
    ("limen.selection.entropy", "PlanError"): lambda: selection.entropy(network()),
    ("limen.selection.sample_", "PlanError"): lambda: selection.sample_(network(), "gumbel"),
    ("limen.selection.sample_", "SpecError"): lambda: selection.sample_(searched(), "normal"),
    ("limen.selection.set_temperature_", "PlanError"): lambda: selection.set_temperature_(network(), 0.5),
    ("limen.selection.set_temperature_", "SpecError"): lambda: selection.set_temperature_(searched(), 0.0),
    **{
        (f"limen.adapters.{library}.{name}", "MissingExtraError"): partial(
            without_libraries, getattr(ADAPTERS[library], name)
        )
        for library, name in itertools.product(ADAPTERS, ("register", "unregister"))
        if name == "register" or library in ("monai", "timm")  # the others undo what they did, and know the library
    },
    ("limen.adapters.transformers.register", "SpecError"): register_what_is_unknown,
    ("limen.Activation.forward", "DtypeError"): lambda: limen.Swish().forward(of_integers(2)),
    ("limen.Activation.forward", "SpecError"): lambda: limen.ASH().forward(torch.zeros(2, 2), "a mask"),
    ("limen.Activation.forward", "ShapeError"): lambda: limen.Swish(num_parameters=3).forward(torch.zeros(2, 2)),
    ("limen.AdAct.drop_", "SpecError"): lambda: limen.AdAct(("silu", "relu")).drop_(["silu", "relu"]),
    ("limen.Constant.check", "SpecError"): lambda: limen.Constant(1.0, above=0.0).check("Bent", "k", 0.0),
    ("limen.Param.check", "SpecError"): lambda: limen.Param(1.0).check("Bent", "k", "one"),
    ("limen.Plan.from_dict", "PlanError"): lambda: limen.Plan.from_dict({}),
    ("limen.Plan.save", "OSError"): lambda: plan().save("/dev/null/plan.json"),
    ("limen.Plan.load", "PlanError"): lambda: limen.Plan.load("nowhere.json"),
    ("limen.SwapReport.undo", "LimenError"): lambda: twice_swapped().undo(),
    ("limen.formula.Context.axes", "ShapeError"): lambda: limen.formula.Context("channel").axes((2, 3)),
    ("limen.inspect.Watch.plot", "MissingExtraError"): lambda: without_libraries(watched().plot),
    ("limen.inspect.Watch.plot", "SpecError"): lambda: watched().plot("alpha"),
    ("limen.selection.Choice.from_dict", "PlanError"): lambda: selection.Choice.from_dict({}, "mine"),
    ("limen.selection.Observation.from_dict", "PlanError"): lambda: selection.Observation.from_dict({}, "mine"),
}


def documented_pairs() -> set[tuple[str, str]]:
    """Every public operation once, with each error that it names; activations and their functions are tried above."""
    first = {item: path for path, item in reversed(OPERATIONS.items()) if item not in FUNCTIONS}
    return {
        (path, name)
        for item, path in first.items()
        if not (isinstance(item, type) and issubclass(item, limen.Activation))
        for name in documented_errors(item)
    }


def test_every_error_documented_is_provoked_here():
    assert PROVOKED.keys() == documented_pairs()


@pytest.mark.parametrize("case", PROVOKED, ids=" ".join)
def test_what_is_documented_is_raised(case):
    with pytest.raises(error(case[1])):
        PROVOKED[case]()
