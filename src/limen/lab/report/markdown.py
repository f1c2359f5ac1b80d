"""What a page in Markdown is made of."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

Row = Sequence[str]
WIDTH = 118


def table(heading: Row, rows: Sequence[Row]) -> list[str]:
    """The lines of a table; a bar in a cell would end it.

    >>> table(("a", "b"), [("1", "x|y")])
    ['| a | b |', '| --- | --- |', '| 1 | x/y |']
    """
    ruled = [heading, ["---"] * len(heading), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in ruled]


def paragraph(text: str) -> list[str]:
    """The lines of a paragraph."""
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)
