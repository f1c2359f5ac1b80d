"""Changes of one token, where they are made, and processes that end badly."""

from __future__ import annotations

import ast
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from limen.lab.statistics import relative
from mutation.applying import change_functions
from mutation.changes import Mutant, mutants_of
from mutation.page import table
from mutation.parts import MODULES, ROOT, chosen, key, sources
from mutation.processes import forked

TEXT = '''"""Not a < b."""

LIMIT = 3


def larger(a: int, b: int) -> int:
    """Either."""
    assert a < 100
    return a if a > b else b + LIMIT
'''


@pytest.fixture(autouse=True)
def scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIMEN_MUTANTS", str(tmp_path))


def test_each_change_is_of_one_token_that_matters(tmp_path: Path) -> None:
    file = tmp_path / "larger.py"
    file.write_text(TEXT)
    found = mutants_of(file, tmp_path)
    assert {(one.line, one.old, one.new) for one in found} >= {(9, ">", ">="), (9, "+", "-"), (3, "3", "4")}
    assert not {one.line for one in found} & {1, 7, 8}
    for one in found:
        text = one.applied(TEXT)
        ast.parse(text)
        assert text[: one.start] + one.old + text[one.start + len(one.new) :] == TEXT


def test_a_function_that_is_imported_already_is_changed_and_a_constant_is_not() -> None:
    file = Path(relative.__file__)
    mutants = mutants_of(file, ROOT)

    def answers(mutant: Mutant, _: Path) -> dict[str, Any]:
        before = [function.__code__ for function in vars(relative).values() if hasattr(function, "__code__")]
        made = change_functions(mutant)
        after = [function.__code__ for function in vars(relative).values() if hasattr(function, "__code__")]
        return {"made": made, "changed": before != after}

    found = [forked(partial(answers, one), within=30)[0] for one in mutants]
    assert found
    assert all(one is not None and one["made"] == one["changed"] for one in found)
    assert any(one is not None and one["made"] for one in found)


def test_a_process_that_crashes_or_fails_gives_nothing_and_says_why() -> None:
    def crash(_: Path) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGUSR1)  # no crash that faulthandler reports
        return {}

    def fail(_: Path) -> dict[str, Any]:
        raise ValueError("this is why")

    assert forked(lambda work: {"own": work.name}, within=30)[0] is not None
    assert forked(crash, within=30) == (None, "it crashed")
    given, said = forked(fail, within=30)
    assert given is None
    assert "this is why" in said


def test_every_part_has_files_tests_and_the_same_changes_each_time() -> None:
    for name, module in MODULES.items():
        assert sources(name), name
        missing = [test for test in module.tests if not (ROOT / "tests" / test).exists()]
        assert not missing, name
    first, again = chosen("formula"), chosen("formula")
    assert first == again
    assert len(first) == MODULES["formula"].count
    known = key(first[-1].as_dict())
    assert known in {key(one.as_dict()) for one in chosen("formula", {known})}


def test_the_table_counts_what_changes_nothing_apart() -> None:
    mutant = chosen("formula")[0].as_dict()
    outcomes = [("test_a", False, ""), ("", False, "a reason"), ("", True, "no matter")]
    rows = [{"module": "formula", **mutant, "by": by, "same": same, "why": why} for by, same, why in outcomes]
    page = table(rows)
    assert "| formula | 3 | 1 | 1 | 1 | 50.0% |" in page
    assert page.index("a reason") < page.index("## Change nothing") < page.index("no matter")
