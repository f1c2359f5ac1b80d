"""The ledger in the terminal: a claim a block, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from limen.lab.papers.ledger.claim import Ledger
from limen.lab.papers.ledger.judging import Entry
from limen.lab.papers.ledger.page import count
from limen.lab.report.wording import counted

STYLES = {
    "confirmed": "green",
    "contradicted": "red",
    "equivalent": "cyan",
    "undecided": "yellow",
    "not tested here": "dim",
}
WIDTH = max(map(len, STYLES))


def tables(ledger: Ledger, entries: Sequence[Entry]) -> Iterator[Table]:
    """A table a paper: the verdict, and beside it the claim with what was published and measured."""
    for name, paper in ledger.papers.items():
        mine = [entry for entry in entries if entry.claim.paper == name]
        if mine:
            yield _table(f"{paper.title} · {paper.source}", mine)


def _table(title: str, entries: Sequence[Entry]) -> Table:
    table = Table(title=f"\n{escape(title)}", title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(width=WIDTH, no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for entry in entries:
        table.add_row(f"[{STYLES[entry.verdict]}]{entry.verdict}[/]", "\n".join(_lines(entry)))
    return table


def _lines(entry: Entry) -> Iterator[str]:
    """The claim, and what there is of: published, measured by both protocols, on what, the reason."""
    yield escape(entry.claim.words)
    of = counted(entry.seeds, "seed") if entry.seeds else ""
    paper = ", ".join(part for part in (entry.as_the_paper, entry.verdict_as_the_paper) if part)
    named = {
        "published": entry.published,
        "measured": "; ".join(filter(None, (entry.honest, entry.beside))),
        "as the paper": paper,
        "on": "; ".join(part for part in (entry.scale, of) if part) if entry.honest else "",
        "note" if entry.honest else "why": entry.why,
    }
    for name, text in named.items():
        if text:
            yield f"[dim]{name}:[/] {escape(text)}"


def totals(entries: Sequence[Entry]) -> str:
    """How many claims have each verdict, in a sentence."""
    return f"{len(entries)} claims: " + ", ".join(f"{number} {verdict}" for verdict, number in count(entries).items())
