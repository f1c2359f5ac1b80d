"""Which tests pass over a change, which of them are run, and whether one fails."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mutation.changes import Mutant
from mutation.parts import ROOT

QUICK = "not slow and not thorough and not triton and not gpu"
LONG = re.compile("compile(?!r)|export|graph_break|ddp|planted|import_loads|no_text_does|torch_alone|begun_threads")
"""In the names of tests that take long."""
LONGEST = 8.0
"""Seconds of a test; a longer one is left out."""


@dataclass
class Passed:
    """What a test takes and which lines it passes over, by file."""

    seconds: float
    lines: dict[str, list[int]] = field(default_factory=dict)


class Recording:
    """Notes of each test its seconds and the lines of some files that it passes over."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = {str(file) for file in files}
        self.tests: dict[str, Passed] = {}

    def run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Run one test."""
        lines: dict[str, set[int]] = {}

        def within(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            if event == "line":
                lines[frame.f_code.co_filename].add(frame.f_lineno)
            return within

        def called(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
            file = frame.f_code.co_filename
            if file not in self.files:
                return None
            lines.setdefault(file, set()).add(frame.f_lineno)
            return within

        before = _processor_seconds()
        sys.settrace(called)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.settrace(None)
        found = {str(Path(file).relative_to(ROOT)): sorted(seen) for file, seen in lines.items()}
        self.tests[item.nodeid] = Passed(_processor_seconds() - before, found)


class Failures:
    """Which tests fail, first of all which first."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a failure."""
        if report.failed:
            self.names.append(report.nodeid)


class Quick:
    """Leaves out the tests that take long."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """By the name of the function, not of its file."""
        items[:] = [item for item in items if not LONG.search(item.name)]


def chosen_tests(
    items: Sequence[pytest.Item], mutant: Mutant, tests: Mapping[str, Passed], within: float
) -> list[pytest.Item]:
    """Those that pass over the line, then over the file, then the others, each time the quickest first."""

    def order(item: pytest.Item) -> tuple[int, float]:
        test = tests[item.nodeid]
        lines = test.lines.get(mutant.path, ())
        return (0 if mutant.line in lines else 1 if lines else 2, test.seconds)

    spent, taken = 0.0, []
    for item in sorted((item for item in items if item.nodeid in tests), key=order):
        elsewhere, seconds = order(item)
        if seconds < LONGEST:
            spent += seconds if elsewhere else seconds / 2
            if spent < within:
                taken.append(item)
    return taken


def first_failure(items: Sequence[pytest.Item], failures: Failures) -> str:
    """Run tests until one fails."""
    for item, following in zip_longest(items, items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failures.names:
            return failures.names[0]
    return ""


def run_tests(paths: Sequence[Path], work: Path, *plugins: object) -> int:
    """Run pytest in this process."""
    common = ["-q", "-p", "no:xdist", "-m", QUICK, f"--basetemp={work / 'tmp'}", "-o", f"cache_dir={work / 'cache'}"]
    common += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins whose libraries were imported before
    return int(pytest.main([*common, *map(str, paths)], plugins=list(plugins)))


def _processor_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
