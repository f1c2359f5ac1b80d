"""Every public name says what it is in one sentence, shows itself in use, and names its shapes."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_public import (
    CLASSES,
    EVERYTHING,
    FUNCTIONS,
    METHODS,
    MODULES,
    NAMED,
    OPERATIONS,
    VALUES,
    doc_of,
    told_by_its_base,
)

import limen

SOURCE = Path(limen.__file__).parent


def test_parts_that_can_use_a_library_do_not_load_it():
    libraries = {"matplotlib", "lightning", "transformers", "timm", "monai", "captum", "opacus", "torch_pruning"}
    code = f"import sys, limen; limen.inspect.statistics; limen.adapters.layer; print({libraries} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


COMMANDS = """
import sys
from limen import cli
heavy = {"torch", "sympy", "lightning", "torchmetrics", "monai", "transformers", "matplotlib", "scipy.stats"}
for words in sys.argv[1].split("; "):
    sys.argv = ["limen", *words.split()]
    try:
        cli.main()
    except SystemExit as ended:
        print(ended.code, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
ANSWERED = ("--help", "compare --help", "list", "list --json", "reproduce --list")
MISTAKES = {
    "compare --data digts": "'digits'",
    "compare --data gone/photos.zip": "does not exist",
    "compare --network convnt": "'convnet'",
    "compare --network wrn-23-4": "cannot have 23 layers",
    "compare --activations asua": "'asau'",
    "compare --activations asau:bta=2": "'beta'",
    "compare --activations relu,relu": "named twice",
    "compare --baseline elu": "not among the activations",
    "compare --momentum 0.9": "--momentum 0.9 is for --optimizer sgd",
    "compare --task regression --augment flip": "--augment 'flip' is not an option",
    "compare --task x": "no task is called 'x'",
    "compare --grey --task sequence --window 3": "--window",
    "compare --task regression --data gone.csv": "--target",
    "compare --task regression --data gone.csv --target y": "does not exist",
    "compare --task segmentation --data gone": "does not exist",
    "compare --epochs 0": "--epochs",
    "compare --lr nan": "--learning-rate",
    "compare --image-size 0": "--image-size",
    "compare --plan --data gone": "knows no spread",
    "compare --plan --sd 0.6 --difference 200": "--difference 200 is not possible",
    "compare --seeds auto": "needs a --margin",
    "compare --trials 5": "belongs to --tune",
    "select --candidates relu,slu": "'silu'",
    "select --data digts": "'digits'",
    "reproduce nonesuch": "no recipe",
    "reproduce adact-table1-fmnist --data gone": "'gone'",
    "claims gone": "no folder",
    "claims --paper x": "no paper",
    "report gone": "no study",
    "bench --activations asua": "'asau'",
    "bench --dtype int": "--dtype",
    "warm asua": "'asau'",
    "swap convnt --to asau": "'convnet'",
    "swap convnet --to asua": "'asau'",
    "inspect convnet --data digts": "'digits'",
    "show asua": "'asau'",
    "show maxout": "no curve",
    "show ,": "names no activation",
    "plot asua --out a.svg": "'asau'",
    "plot asau --out a.gif": "must end in",
    "plot asau --edge 0 --out a.svg": "--edge",
}


def test_commands_wait_for_no_library_before_they_come_to_it(tmp_path):
    words = "; ".join((*ANSWERED, *MISTAKES))
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, words], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    said = done.stderr.splitlines()
    assert [line for line in said if not line.startswith("limen: ")] == ["0 []"] * len(ANSWERED) + ["2 []"] * len(
        MISTAKES
    )
    sentences = [line for line in said if line.startswith("limen: ")]
    assert len(sentences) == len(MISTAKES)
    assert [words for words, line in zip(MISTAKES, sentences, strict=True) if MISTAKES[words] not in line] == []


def test_nothing_but_values_is_without_a_docstring():
    plain = {path for path, item in NAMED.items() if not (isinstance(item, type) or inspect.isroutine(item))}
    assert plain == VALUES


@pytest.mark.parametrize("module", [limen, *MODULES.values()], ids=lambda module: module.__name__)
def test_a_module_says_what_it_is_and_shows_itself_in_use(module):
    first, _, rest = module.__doc__.partition("\n\n")
    assert first.endswith(".")
    assert ">>> " in rest


@pytest.mark.parametrize("path", EVERYTHING)
def test_the_first_line_is_one_sentence(path):
    own = EVERYTHING[path].__doc__
    assert own, f"{path} has no docstring of its own"
    first, _, rest = inspect.cleandoc(own).partition("\n")
    assert first.endswith("."), first
    assert not re.search(r"[a-z)][.] [A-Z]", first), f"more than one sentence: {first}"
    assert not rest or rest.startswith("\n"), f"the first sentence of {path} ends on another line"


@pytest.mark.parametrize("path", [path for path in OPERATIONS if path not in METHODS or not told_by_its_base(path)])
def test_there_is_an_example(path):
    assert ">>> " in doc_of(OPERATIONS[path])


@pytest.mark.parametrize("name", dir(limen.functional))
def test_the_examples_of_the_derived_functions_run(name):
    """Those of all else run where they stand."""
    function = getattr(limen.functional, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        function, name, module=False, globs=dict(vars(limen.functional))
    )
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


# Shapes

TENSORS = re.compile(r"\bTensor\b")
SHAPES = re.compile(r"\bshapes?\b|\b1-D\b")


def takes_tensors(item: Any) -> bool:
    if isinstance(item, type):
        return issubclass(item, torch.nn.Module)
    if getattr(item, "__module__", "") == "limen.formula.primitives":
        return True
    own = item.fget if isinstance(item, property) else item
    return any(TENSORS.search(str(hint)) for hint in own.__annotations__.values()) or item in FUNCTIONS


@pytest.mark.parametrize("path", [path for path, item in EVERYTHING.items() if takes_tensors(item)])
def test_what_takes_or_gives_tensors_tells_their_shapes(path):
    assert SHAPES.search(doc_of(EVERYTHING[path]))


@pytest.mark.parametrize("path", [path for path, item in CLASSES.items() if issubclass(item, limen.Activation)])
def test_help_of_an_activation_needs_no_other_page(path):
    """Every argument of the constructor with type and default, the shapes of what goes in and comes out, the errors."""
    cls, doc = CLASSES[path], doc_of(CLASSES[path])
    for argument in ("num_parameters", "channel_dim", "group_size", "device, dtype", *cls.fields):
        if argument in cls.fields and not cls.fields[argument].settable:
            continue
        assert re.search(rf"^ +{argument}: ", doc, re.MULTILINE), argument
    if cls is not limen.Activation:
        assert f"Source: {cls.source}." in doc
        assert re.search(r"Shape:\n    input: .*\n    output: ", doc)
    assert re.search(r"Raises:\n    SpecError: .*(\n {8}.*)*\n    DtypeError: ", doc)


def test_an_activation_of_ones_own_is_documented_too():
    class Bent(limen.Activation):
        """x + k·x³."""

        k = limen.Param(0.5, learned=False)
        power = limen.Constant(3.0, above=1.0)
        source = "a notebook"

        @staticmethod
        def formula(x, k, power):
            return x + k * x**power

    class Undescribed(Bent):
        pass

    for cls, first in ((Bent, "x + k·x³."), (Undescribed, "The activation Undescribed.")):
        assert cls.__doc__.startswith(f"{first}\n\nSource: a notebook.\n\n")
        assert "    k: a finite number, not learned unless named; 0.5 by default.\n" in cls.__doc__
        assert "    power: a finite number between 1.0 and inf, both excluded, never learned; 3.0" in cls.__doc__
        assert "    k: float, 1-D, of num_parameters values; an nn.Parameter if learned, else a buffer." in cls.__doc__
