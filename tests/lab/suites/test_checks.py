"""What must hold of a suite before anything is trained."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers_lab import tiny

from limen.errors import StudyError
from limen.lab.metric import ACCURACY, Metric
from limen.lab.records import DataFacts
from limen.lab.study.store import StudyFolder
from limen.lab.suites.running import check_continues
from limen.lab.suites.suite import why_not

FACTS = DataFacts(name="d", classes=("a",), image_shape=(1,), train=2, validation=1, test=1, fingerprint="ab")


def test_relative_errors_need_a_best_value_at_the_better_end() -> None:
    error = Metric("error", "error", higher_is_better=False, bounds=(0.0, math.inf))
    assert why_not(ACCURACY, "relative") == why_not(error, "relative") == ""
    no_best = "has no best value, and so no error; leave the problem out"
    for higher, bounds in ((True, (0.0, math.inf)), (False, (-math.inf, 0.0))):
        assert why_not(Metric("gain", "gain", higher_is_better=higher, bounds=bounds), "relative") == f"gain {no_best}"
    assert why_not(Metric("r2", "R²", bounds=(-math.inf, 1.0)), "relative") == ""


def test_a_problem_that_differs_is_found_behind_one_that_has_not_begun(tmp_path: Path) -> None:
    StudyFolder(tmp_path / "second").open(tiny(), FACTS, {}, "")
    problems = [SimpleNamespace(name=name, settings=tiny(epochs=7)) for name in ("first", "second")]
    suite: Any = SimpleNamespace(problems=problems)
    with pytest.raises(StudyError, match="second holds another study than the problem 'second' asks for"):
        check_continues(suite, tmp_path)
    suite.problems = [SimpleNamespace(name=name, settings=tiny()) for name in ("first", "second")]
    check_continues(suite, tmp_path)
