"""What comes of each change: forked where limen is imported already, or imported anew with it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from mutation.applying import Finder, change_functions, change_header
from mutation.changes import Mutant
from mutation.noticing import Failures, Passed, Quick, Recording, chosen_tests, first_failure, run_tests
from mutation.parts import ROOT
from mutation.processes import alone, forked

BUDGET = 12.0
"""Seconds of all tests that a mutant is given, if none of them fails; those that pass over its line count half."""
TERMINAL = os.dup(1)
"""Where results are said, wherever a process has its output otherwise."""


@dataclass
class Outcome:
    """What came of a mutant."""

    by: str
    """The first test that noticed it; empty if none did."""
    seconds: float
    tried: bool = True
    """Whether it could be, in functions that were imported before."""


def tried(paths: Sequence[Path], mutants: Sequence[Mutant], within: float, *, again: bool) -> list[Outcome]:
    """Try the mutants of a part: in functions that are imported already, or imported anew where they are elsewhere."""
    files = sorted({ROOT / mutant.path for mutant in mutants})

    def serve(work: Path) -> dict[str, Any]:
        serving = Serving(files, mutants, within)
        code = run_tests(paths, work, serving)
        tests = {name: asdict(test) for name, test in serving.tests.items()}
        return {"code": code, "tests": tests, "outcomes": [asdict(one) for one in serving.outcomes]}

    found, said = forked(serve, within=20_000)
    if found is None or len(found["outcomes"]) < len(mutants):
        raise SystemExit(f"{said}\nthe tests {[*map(str, paths)]} could not be run.")
    tests = {name: Passed(**test) for name, test in found["tests"].items()}
    outcomes = [Outcome(**one) for one in found["outcomes"]]
    for index, mutant in enumerate(mutants):
        if not outcomes[index].by and (again or not outcomes[index].tried):
            outcomes[index] = _tried_anew(mutant, tests, within)
            say(mutant, outcomes[index])
    return outcomes


class Serving(Quick):
    """Has limen and the tests of a part imported, and forks from there a process for each change of a function."""

    def __init__(self, files: Sequence[Path], mutants: Sequence[Mutant], within: float) -> None:
        self.files, self.mutants, self.within, self.failures = files, mutants, within, Failures()
        self.tests: dict[str, Passed] = {}
        self.outcomes: list[Outcome] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """The tests as they are, then those that pass with each change."""
        session.config.pluginmanager.register(self.failures)
        found, said = forked(lambda _: self._record(session.items), within=1500)
        if found is None:
            raise pytest.UsageError(f"{said}\nthe tests do not come to an end without any change.")
        for name in found["failed"]:
            os.write(TERMINAL, f"left out, since it fails without any change: {name}\n".encode())
        passing = found["tests"].keys() - set(found["failed"])
        self.tests = {name: Passed(**found["tests"][name]) for name in passing}
        for mutant in self.mutants:
            self.outcomes.append(self._try(session.items, mutant))
            say(mutant, self.outcomes[-1])
        return True

    def _record(self, items: Sequence[pytest.Item]) -> dict[str, Any]:
        recording = Recording(self.files)
        for item, following in zip_longest(items, items[1:]):
            recording.run(item, following)
        tests = {name: asdict(test) for name, test in recording.tests.items()}
        return {"failed": self.failures.names, "tests": tests}

    def _try(self, items: Sequence[pytest.Item], mutant: Mutant) -> Outcome:
        def task(work: Path) -> dict[str, Any]:
            alone(work)
            if not change_functions(mutant):
                return {"by": "", "tried": False}
            return {"by": first_failure(chosen_tests(items, mutant, self.tests, self.within), self.failures)}

        return outcome(task)


class Choosing(Quick):
    """Runs the tests that concern a change, in a process that imports limen with it."""

    def __init__(self, mutant: Mutant, tests: Mapping[str, Passed], within: float) -> None:
        self.mutant, self.tests, self.within, self.failures, self.ran = mutant, tests, within, Failures(), 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """The chosen ones, until one fails."""
        session.config.pluginmanager.register(self.failures)
        items = chosen_tests(session.items, self.mutant, self.tests, self.within)
        self.ran = len(items)
        first_failure(items, self.failures)
        return True


def say(mutant: Mutant, outcome: Outcome) -> None:
    """A line for what came of a mutant."""
    state = "killed  " if outcome.by else "survived" if outcome.tried else "no function"
    os.write(TERMINAL, f"{state} {outcome.seconds:5.1f} s  {mutant.name}\n".encode())


def outcome(task: Callable[[Path], dict[str, Any]]) -> Outcome:
    """Whether a mutant is noticed, which it also is by crashing or by taking too long."""
    start = time.monotonic()
    found, said = forked(task, within=9 * BUDGET)
    seconds = time.monotonic() - start
    return Outcome(said, seconds) if found is None else Outcome(seconds=seconds, **found)


def _tried_anew(mutant: Mutant, tests: Mapping[str, Passed], within: float) -> Outcome:
    touching = [test.partition("::")[0] for test, passed in tests.items() if mutant.path in passed.lines]
    every = [test.partition("::")[0] for test in tests]
    paths = [ROOT / file for file in dict.fromkeys(touching or every)]

    def task(work: Path) -> dict[str, Any]:
        alone(work)
        choosing = Choosing(mutant, tests, within)
        if mutant.path.endswith(".h"):
            change_header(mutant)
            code = run_tests(paths, work, choosing)
        else:
            finder = Finder(mutant)
            sys.meta_path.insert(0, finder)
            code = run_tests(paths, work, choosing, finder)
        imported = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
        failed = next(iter(choosing.failures.names), "" if imported else "at import")
        return {"by": failed or ("" if choosing.ran else "at import")}

    return outcome(task)
