"""``limen claims``: every claim of the papers, what tests it, and what the stored rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from limen.commands.common import JsonOption, command
from limen.errors import StudyError
from limen.lab.numerals import finite

PLACES = (Path("docs/results/rows"), Path("runs"))
"""Where rows are looked for when no folder is named."""


@command
def claims(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Studies, rows, or folders of them. Default: docs/results/rows if there, else runs."),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    paper: Annotated[str | None, typer.Option(help="Only the claims of this paper: asau, ash, apalu or adact.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge every claim of the four papers by stored rows: confirmed, contradicted, equivalent, undecided, not tested.

    Nothing is trained. What no stored run tests is listed with the reason.
    """
    from limen.lab.papers import ledger as ledgers
    from limen.lab.study import rows

    ledger = ledgers.load()
    if paper is not None:
        ledger = ledger.of(paper)
    studies = rows.find(folders or _default())
    from limen.commands import claims_table as table  # with torch, on which formulas are checked
    from limen.lab.papers.ledger import page
    from limen.writing import write_atomically

    entries = ledgers.judge(ledger, studies)
    if markdown is not None:
        write_atomically(markdown, page.markdown(ledger, entries, studies))
    if as_json:
        found = {"counts": page.count(entries), "claims": [entry.as_dict() for entry in entries]}
        print(json.dumps(finite(found), indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    if markdown is None:
        console = Console()
        for one in table.tables(ledger, entries):
            console.print(one, highlight=False)
    print(table.totals(entries))
    if markdown is not None:
        print(f"Page: {markdown}")


def _default() -> list[Path]:
    found = [place for place in PLACES if place.is_dir()]
    if not found:
        raise StudyError(
            f"there is neither {PLACES[0]} nor {PLACES[1]} here; name folders of studies or of their rows."
        )
    return found[:1]
