"""``limen compare``: every activation with the same seeds and batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from limen.commands.common import JsonOption, command, share_the_processor
from limen.commands.execution import of_execution
from limen.commands.options import of_fields
from limen.errors import SpecError
from limen.lab.executing.execution import Execution
from limen.lab.fields import StudyFields
from limen.lab.option import options


@command
@of_execution
@of_fields(StudyFields)
def compare(
    given: Mapping[str, Any],
    execution: Execution,
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; resumed if there. Default: runs/DATA-NETWORK.")
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Train nothing: say how many seeds a difference needs, and how long they take."),
    ] = False,
    difference: Annotated[
        float | None,
        typer.Option(help="With --plan: the difference to find, in the measure's unit. Default: --margin."),
    ] = None,
    sd: Annotated[
        float | None, typer.Option(help="With --plan: the deviation of paired differences, where --out has no pilot.")
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of problems (data, network, task): one answer over all of them, beside their own."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train every activation with the same seeds and batches, and compare test scores and cost honestly.

    Writes runs.csv, summary.csv and report.html to the folder of the study, and resumes where it stopped.
    """
    share_the_processor()
    if suite is not None:
        _across_problems(suite, _asked_for(context), out, execution, as_json)
        return
    if plan:
        from limen.commands import planning

        planning.plan(given, out, difference, sd, as_json)
        return
    if difference is not None or sd is not None:
        raise SpecError("--difference and --sd belong to --plan; add it, or leave them out.")
    from limen.commands import study
    from limen.lab.settings import StudySettings

    study.run(_study, StudySettings, given, out, as_json, execution)


def _asked_for(context: typer.Context) -> dict[str, Any]:
    """The options that were given, and not left to their defaults."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: context.params[name] for name, source in sources.items() if source and source.name != "DEFAULT"}


def _across_problems(
    path: Path, asked: Mapping[str, Any], out: Path | None, execution: Execution, as_json: bool
) -> None:
    stray = next((name for name in ("plan", "difference", "sd") if name in asked), None)
    if stray is not None:
        raise SpecError(f"--{stray} is about one study, and --suite names several; leave one of them out.")
    from limen.commands import suite as suites

    given = {name: value for name, value in asked.items() if name in options(StudyFields)}
    suites.run(path, given, out, execution, as_json)


def _study(*given: Any, **named: Any) -> Any:
    from limen.lab.study.compare import compare  # with torch, after what is mistyped was said

    return compare(*given, **named)
