"""``limen compare --suite``: several problems, each a study of its own, and one answer over all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from limen.commands import suite_file
from limen.commands.common import EXIT_BAD_INPUT, command_line, fail, sentence
from limen.errors import SpecError
from limen.lab.executing.execution import Execution
from limen.lab.numerals import MISSING, between, finite, fixed, plain
from limen.lab.report.suite.contents import SuiteContents, SuiteLine
from limen.lab.report.suite.sentences import sentences, span, time_said

if TYPE_CHECKING:
    from limen.commands.progress import ProgressListener
    from limen.lab.suites.running import Outcome
    from limen.lab.suites.suite import Problem

OF_A_PROBLEM = ("data", "network", "task", "target")
"""What only the file says: on the command line it would be the same for all problems."""
STYLES = {"better": "green", "worse": "red"}


def run(path: Path, given: Mapping[str, Any], out: Path | None, execution: Execution, as_json: bool) -> None:
    """Run or continue a suite with the options that were given beside it, and print its answer."""
    stray = next((name for name in OF_A_PROBLEM if name in given), None)
    if stray is not None:
        raise SpecError(f"--{stray} belongs into {path}, to the problem whose {stray} it is; leave it out.")
    suite = suite_file.read(path, given)
    out = out or Path("runs") / path.stem
    from limen.lab.suites import running  # with torch, after what is mistyped was said

    with_names = len(suite.problems)

    @contextmanager
    def listening(number: int, problem: Problem) -> Iterator[ProgressListener]:
        from limen.commands.progress import ProgressListener

        with ProgressListener(_task(problem), problem.settings) as listener:
            listener.console.print(
                f"problem {number} of {with_names}: [bold]{escape(problem.name)}[/]", highlight=False
            )
            yield listener

    show(running.run(suite, out, listening, command=command_line(), execution=execution, explain=_explained), as_json)


def _task(problem: Problem) -> Any:
    from limen.lab.tasks import declared

    return declared.find(problem.settings.task)


def _explained(error: Exception) -> str:
    return sentence(error)


def show(outcome: Outcome, as_json: bool) -> None:
    """Print the answer; where no problem has a result, that ends in exit code 2."""
    suite = outcome.contents
    if as_json:
        from limen.lab.suites.running import as_answer

        found = {**as_answer(suite), "sentences": sentences(suite), "report": str(outcome.report)}
        print(json.dumps(finite(found), indent=1, ensure_ascii=False))
    else:
        _print(suite, outcome.report, Console())
    if not suite.counted:
        fail(plain(" ".join(sentences(suite))), EXIT_BAD_INPUT)


def _print(suite: SuiteContents, report: Path, console: Console) -> None:
    if suite.counted:
        console.print(_table(suite))
        for said in sentences(suite):
            console.print(escape(plain(said)), highlight=False)
    console.print(f"Report: {report}", soft_wrap=True)


def _table(suite: SuiteContents) -> Table:
    title = f"{escape(suite.title)} · {len(suite.counted)} of {len(suite.problems)} problems"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("activation", overflow="fold")
    for heading in (f"error,\n{suite.unit}", "p\n(Holm)", "verdict", "better\nin runs", "rank", "time ×"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right")
    for line in suite.lines:
        style = STYLES.get(line.verdict, "dim")
        table.add_row(
            escape(line.activation),
            plain(f"{fixed(line.change, 1, signed=True)}\n{span(line.change_low, line.change_high)}"),
            fixed(line.p_holm, 3),
            f"[{style}]{line.verdict}[/]",
            _percent(line),
            fixed(line.rank, 1),
            "\n".join(part for part in time_said(line) if part != MISSING),
        )
    return table


def _percent(line: SuiteLine) -> str:
    ends = between(fixed(100 * line.superior_low, 0), fixed(100 * line.superior_high, 0))
    return f"{fixed(100 * line.superior, 0)} %\n{ends}"
