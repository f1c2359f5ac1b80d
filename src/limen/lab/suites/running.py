"""A suite from its problems to its answer: each is a study of its own, and one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from limen.errors import LimenError, SpecError, StudyError
from limen.lab.executing.execution import Execution
from limen.lab.records import Origin
from limen.lab.report.suite.contents import SuiteContents
from limen.lab.report.suite.page import render
from limen.lab.study import checks, rows
from limen.lab.study.compare import compare
from limen.lab.study.listener import Listener
from limen.lab.study.store import StudyFolder
from limen.lab.suites import folder as folders
from limen.lab.suites.answer import answer
from limen.lab.suites.folder import Entry, Known
from limen.lab.suites.suite import Problem, Suite
from limen.lab.tasks import registry
from limen.writing import write_atomically


@dataclass(frozen=True)
class Outcome:
    """What a suite came to."""

    contents: SuiteContents
    report: Path


def check(suite: Suite, execution: Execution) -> None:
    """Raise for what of any problem cannot be, and takes torch to say: values of arguments, libraries, devices.

    Raises:
        SpecError: naming the problem.
    """
    for problem in suite.problems:
        settings = problem.settings
        try:
            execution.check(settings.device, settings.devices)
            checks.check(registry.find(settings.task), settings)
        except LimenError as error:
            raise SpecError(f"problem {problem.name!r}: {error}") from None


def check_continues(suite: Suite, out: Path) -> None:
    """Raise where a problem's folder holds another study than the suite asks for.

    Raises:
        StudyError: naming the problem and what differs.
    """
    for problem in suite.problems:
        known = StudyFolder(out / problem.name).read_study()
        if known is None:
            continue
        now = known.model_copy(update={"settings": problem.settings}).origin
        # Threads are taken from the study that is there, unless others are asked for.
        kept = {} if "threads_per_run" in problem.settings.model_fields_set else known.origin.settings
        differing = known.other_than(Origin(fingerprint=now.fingerprint, settings={**now.settings, **_threads(kept)}))
        if differing:
            raise StudyError(
                f"{out / problem.name} holds another study than the problem {problem.name!r} asks for ({differing}); "
                "choose another --out, or give the problem another name."
            )


def _threads(known: dict[str, object]) -> dict[str, object]:
    return {name: known[name] for name in ("threads_per_run",) if name in known}


def run(
    suite: Suite,
    out: Path,
    listening: Callable[[int, Problem], AbstractContextManager[Listener]],
    *,
    command: str,
    execution: Execution,
    explain: Callable[[Exception], str],
) -> Outcome:
    """Run or continue every problem, and write the answer after each.

    Args:
        suite: checked.
        out: its folder.
        listening: makes who hears how a problem goes, from its number and the problem.
        command: as it was given.
        execution: of the runs of every problem.
        explain: an error as a sentence, which is stored.
    """
    check(suite, execution)
    check_continues(suite, out)
    with folders.begin(out):
        failures: dict[str, str] = {}
        for number, problem in enumerate(suite.problems, start=1):
            try:
                with listening(number, problem) as listener:
                    compare(
                        problem.settings,
                        out / problem.name,
                        listener,
                        command=f"limen compare --out {out / problem.name}",
                        execution=execution,
                    )
            except (LimenError, OSError, ModuleNotFoundError, MemoryError, RuntimeError) as error:
                failures[problem.name] = explain(error).rstrip(".")
            outcome = conclude(out, _known(suite, failures, command))
    return outcome


def _known(suite: Suite, failures: dict[str, str], command: str) -> Known:
    entries = tuple(Entry(name=problem.name, failure=failures.get(problem.name, "")) for problem in suite.problems)
    return Known(
        version=folders.VERSION, title=suite.title, differences=suite.differences, command=command, problems=entries
    )


def conclude(out: Path, known: Known) -> Outcome:
    """The answer over what is stored, written."""
    contents = _tables(out, known)
    write_atomically(out / folders.PAGE, render(contents))
    return Outcome(contents, out / folders.PAGE)


def _tables(out: Path, known: Known) -> SuiteContents:
    contents = answer(out, known)
    folders.write(out, known, as_answer(contents), [asdict(line) for line in contents.lines])
    return contents


def keep(out: Path, home: Path) -> Path:
    """Write the rows of all problems to a folder of their own in ``home``, without paths; return that folder."""
    known, kept = folders.read(out), home / out.resolve().name
    for entry in known.problems:
        if (out / entry.name / "study.json").exists():
            rows.keep(rows.read(out / entry.name), kept)
    _tables(kept, known.model_copy(update={"command": rows.command_without_paths(known.command)}))
    return kept


def as_answer(contents: SuiteContents) -> dict[str, object]:
    """The answer as JSON has it."""
    problems: Sequence[dict[str, object]] = [
        {
            "name": one.name, "failure": one.failure, "task": one.task, "data": one.data, "network": one.network,
            "measure": one.measure.name if one.measure else "", "seeds": one.seeds, "baseline": one.baseline,
            "cells": {name: asdict(cell) for name, cell in one.cells.items()},
        }
        for one in contents.problems
    ]  # fmt: skip
    return {
        "baseline": contents.baseline,
        "unit": contents.unit,
        "activations": [asdict(line) for line in contents.lines],
        "problems": problems,
        "ranks": asdict(contents.ranks) if contents.ranks else None,
    }


def report(out: Path) -> Outcome:
    """Make the tables and the page of a suite again from the stored rows of its problems."""
    known = folders.read(out)
    with folders.begin(out):
        return conclude(out, known)
