"""The ledger in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from limen.lab.ledger.claim import Ledger
from limen.lab.ledger.judging import Entry
from limen.lab.ledger.page import count

STYLES = {"confirmed": "green", "contradicted": "red", "not detectable": "yellow", "not tested here": "dim"}


def tables(ledger: Ledger, entries: Sequence[Entry]) -> Iterator[Table]:
    """A table a paper: the claim, what was measured, the verdict."""
    for name, paper in ledger.papers.items():
        mine = [entry for entry in entries if entry.claim.paper == name]
        if mine:
            yield _table(f"{paper.title} · {paper.source}", mine)


def _table(title: str, entries: Sequence[Entry]) -> Table:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("claim", ratio=5)
    table.add_column("published", ratio=2)
    table.add_column("measured", ratio=4)
    table.add_column("verdict", ratio=3)
    for entry in entries:
        verdict = f"[{STYLES[entry.verdict]}]{entry.verdict}[/]" + (f": {escape(entry.why)}" if entry.why else "")
        table.add_row(escape(entry.claim.words), escape(entry.published), _measured(entry), verdict)
    return table


def _measured(entry: Entry) -> str:
    """Both protocols, and the scale beneath."""
    parts = [escape(entry.honest)]
    if entry.as_the_paper:
        parts.append(f"[dim]as the paper[/] {escape(entry.as_the_paper)} [dim]{entry.verdict_as_the_paper}[/]")
    if entry.honest and entry.scale:
        parts.append(f"[dim]{escape(entry.scale)}; {entry.seeds} seeds[/]")
    return "\n".join(part for part in parts if part)


def totals(entries: Sequence[Entry]) -> str:
    """How many claims have each verdict, in a sentence."""
    return f"{len(entries)} claims: " + ", ".join(f"{number} {verdict}" for verdict, number in count(entries).items())
