"""``limen reproduce``: a published experiment, its numbers beside the measured ones, a verdict for every claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from limen.commands.common import JsonOption, command, command_line, share_the_processor
from limen.commands.execution import of_execution
from limen.commands.options import described
from limen.errors import SpecError
from limen.lab.executing.execution import Execution
from limen.lab.numerals import finite
from limen.lab.option import as_device, as_seeds


@command
@of_execution
@described
def reproduce(
    name: Annotated[str | None, typer.Argument(help="A recipe's name, or a recipe file of your own (.toml).")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Scaled down to minutes; labelled so everywhere, and no evidence.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The paper's form, where a recipe is scaled to run without a GPU.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; resumed if there. Default: runs/NAME.")] = None,
    data: Annotated[str | None, typer.Option(help="The data, where they are not the recipe's built-in ones.")] = None,
    data_dir: Path | None = None,
    seeds: Annotated[int | None, typer.Option(help="More or fewer seeds than the recipe's.")] = None,
    threads_per_run: int | None = None,
    device: str = "auto",
    as_json: JsonOption = False,
    *,
    execution: Execution,
) -> None:
    """Run a published experiment and hold its numbers against the paper's.

    Writes what the study writes, and reproduction.csv; limen report DIR … --markdown FILE makes a page of several.
    """
    if list_:
        _list(as_json)
        return
    if name is None:
        raise SpecError("name a recipe, such as adact-table1-fmnist; limen reproduce --list shows them.")
    if quick and full:
        raise SpecError("--quick and --full are two sizes of a recipe; give one of them.")
    share_the_processor()
    from limen.lab.papers import recipe

    chosen = recipe.load(name)
    chosen.problem.look(
        chosen.study_settings(quick=quick, full=full, **_changed(data, data_dir, seeds, threads_per_run, "cpu"))
    )
    from limen.commands import console, progress
    from limen.lab.papers import reproduce as reproducing  # with torch

    settings = chosen.study_settings(quick=quick, full=full, **_changed(data, data_dir, seeds, threads_per_run, device))
    size = "-quick" if quick else "-full" if full and chosen.scaled else ""
    out = out or Path("runs") / f"{chosen.name}{size}"
    with progress.ProgressListener(chosen.problem, settings) as listener:
        result, found = reproducing.run(
            chosen, settings, out, listener, command=command_line(), quick=quick, execution=execution
        )
    if as_json:
        rows = reproducing.rows(found)
        head = {"recipe": chosen.name, "quick": quick, "notices": found.notices, "report": str(result.report)}
        print(json.dumps(finite({**head, "rows": rows}), indent=1))
        return
    from rich.console import Console

    console.print_result(result, Console())
    console.print_reproduction(found, Console())


def _changed(
    data: str | None, data_dir: Path | None, seeds: int | None, threads: int | None, device: str
) -> dict[str, Any]:
    """What the command line says about where and how often, in the words of the settings."""
    if seeds is not None:
        as_seeds(seeds)
    given = {
        "data": data,
        "data_dir": None if data_dir is None else str(data_dir),
        "seeds": seeds,
        "threads_per_run": threads,
    }
    return {**{key: value for key, value in given.items() if value is not None}, "device": as_device(device)}


def _list(as_json: bool) -> None:
    from limen.lab.papers import recipe

    found = [recipe.load(name) for name in recipe.names()]
    if as_json:
        print(json.dumps([r.model_dump(mode="json", include=_SHOWN) for r in found], indent=1, ensure_ascii=False))
        return
    for r in found:
        print(f"{r.name}\n    {r.title} ({r.task}). {r.about}\n    source: {r.source}")
        if r.data_help:
            print(f"    data: {r.data_help}")


_SHOWN = {
    "name", "title", "task", "method", "source", "about", "departures", "scaled_departures", "data_help", "settings",
    "scaled", "published",
}  # fmt: skip
