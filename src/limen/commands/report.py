"""``limen report``: tables and report from stored runs, a page of reproductions, rows to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from limen.commands.common import JsonOption, command, show
from limen.errors import SpecError


@command
def report(
    out: Annotated[list[Path], typer.Argument(help="Folder of a study; several, with --markdown or --store.")],
    markdown: Annotated[
        Path | None, typer.Option(help="Write a page of reproductions, published beside measured, to this file.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of that page.")] = "Published and measured",
    store: Annotated[
        Path | None,
        typer.Option(help="Keep each study's rows, without paths of this machine, in a folder of this one."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the report in a browser, anew when a run ends, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1, for --serve; 0: any that is free.", min=0, max=65535)] = 8765,
    as_json: JsonOption = False,
) -> None:
    """Make the tables and the report of a study again from its stored runs, finished or not."""
    if serve:
        _served(out, port, alone=store is None and markdown is None and not as_json)
        return
    if store is not None or markdown is not None:
        written = [*_rows_kept(out, store), *_page(out, markdown, title)]
        if as_json:
            print(json.dumps({kind: [str(path) for what, path in written if what == kind] for kind, _ in written}))
            return
        for what, path in written:
            print(f"{what.capitalize()}: {path}")
        return
    from limen.lab.study import result

    _check_one(out)
    from limen.lab.suites import folder as suites

    if suites.is_suite(out[0]):
        from limen.commands import suite
        from limen.lab.suites import running

        suite.show(running.report(out[0]), as_json)
        return
    show(result.report(out[0]), as_json)


def _check_one(studies: list[Path]) -> None:
    from limen.lab.study import rows

    if len(studies) > 1:
        raise SpecError(
            f"limen report makes one study's report again, and {len(studies)} were named; add --markdown FILE "
            "or --store FOLDER."
        )
    if rows.is_stored(studies[0]) and (studies[0] / "study.json").exists():
        raise SpecError(
            f"{studies[0]} holds the stored rows of a study, of which no report is made; limen claims and limen report "
            "--markdown FILE read them."
        )


def _served(studies: list[Path], port: int, *, alone: bool) -> None:
    if not alone:
        raise SpecError("--serve shows one study's report; leave out --markdown, --store and --json.")
    _check_one(studies)
    from limen.lab.suites import folder as suites

    if suites.is_suite(studies[0]):
        raise SpecError(f"{studies[0]} holds a suite; name the folder of one of its problems, each a study of its own.")
    from limen.lab.study import serving  # with Matplotlib

    serving.serve(studies[0], port, lambda address: print(f"Report: {address} (Ctrl-C ends it)", flush=True))


def _rows_kept(studies: list[Path], home: Path | None) -> list[tuple[str, Path]]:
    if home is None:
        return []
    from limen.lab.study import rows
    from limen.lab.suites import folder as suites

    across = [folder for folder in studies if suites.is_suite(folder)]
    alone = [folder for folder in studies if folder not in across]
    kept = [rows.keep(found, home) for found in rows.find(alone)]
    if across:
        from limen.lab.suites import running  # with torch

        kept += [running.keep(folder, home) for folder in across]
    return [("rows", folder) for folder in kept]


def _page(studies: list[Path], file: Path | None, title: str) -> list[tuple[str, Path]]:
    if file is None:
        return []
    from limen.lab.papers import page as reproduction_page
    from limen.lab.papers import reproduce as reproducing
    from limen.writing import write_atomically

    write_atomically(file, reproduction_page.markdown([reproducing.read(folder) for folder in studies], title))
    return [("page", file)]
