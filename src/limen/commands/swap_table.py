"""The report of a swap as tables for a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from limen.surgery import Site, SwapReport


def swap_tables(report: SwapReport) -> list[Table]:
    """What is replaced, what is kept and why, what is not reached, notes; only those that have rows."""
    tables = [
        _table("replaced", ("site", "was", "becomes", "call"), [
            (_path(site), site.before, site.after, _short(site.location)) for site in report.sites
        ]),
        _table("kept", ("site", "is", "because", "call"), [
            (_path(site), site.before, site.reason, _short(site.location)) for site in report.skipped
        ]),
        _table("not reached", ("call",), [(call,) for call in report.unreached]),
        _table("to know", ("note",), [(note,) for note in report.notes]),
    ]  # fmt: skip
    return [table for table in tables if table.row_count]


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _path(site: Site) -> str:
    return site.path or "(the model)"


def _short(location: str) -> str:
    """File name and line; ``--json`` has the whole path."""
    return Path(location).name
