"""Anyone's CSV file as text columns; every row that is not like the rest is named by its line."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from limen.errors import DataError, SpecError, suggest
from limen.lab.data.members import content_of, reading
from limen.lab.data.named import check_table
from limen.lab.data.text import decoded
from limen.memory import require_memory

BLANKS = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What counts as no value, in any case."""
DELIMITERS = ",;\t|"
MOST_COLUMNS = 10_000
_SHOWN = 40


@dataclass(frozen=True)
class Table:
    """Columns of text by name, all of one length; an empty text is a blank."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    """The line of the file that each row begins on."""

    def __len__(self) -> int:
        return len(self.lines)

    def need(self, name: str, option: str) -> list[str]:
        """A column by name, or an error that names the nearest."""
        if name not in self.columns:
            raise SpecError(f"{self.path} has no column {name!r} for {option}. {suggest(name, self.columns)}")
        return self.columns[name]

    def without(self, names: Collection[str], needed: Mapping[str, str | None]) -> Table:
        """The table with these columns left out; ``needed`` are columns by the option that names each.

        Raises:
            SpecError: for a column that is not there, and for one that is needed.
        """
        for name in names:
            if name not in self.columns:
                known = ", ".join(map(repr, self.columns))
                raise SpecError(f"{self.path} has no column {name!r} for --drop; it has {known}.")
            for option, column in needed.items():
                if name == column:
                    raise SpecError(f"--drop {name!r} is the column of {option}, which is needed; drop others.")
        kept = {name: cells for name, cells in self.columns.items() if name not in names}
        return replace(self, columns=kept)

    def numbers(self, name: str) -> list[float]:
        """A column as numbers, NaN where blank; the first cell that is no number is an error with its line."""
        values = []
        for line, text in zip(self.lines, self.columns[name], strict=True):
            value = number(text)
            if value is None:
                raise DataError(f"{self.path}, line {line}: {name} is {shortened(text)}, but must be a number.")
            values.append(value)
        return values

    def is_numeric(self, name: str) -> bool:
        """Whether every value of a column is a number or blank, and one at least is no blank."""
        cells = self.columns[name]
        return any(cells) and all(number(text) is not None for text in cells)

    def take(self, rows: list[int]) -> Table:
        """Only these rows, in this order."""
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return Table(self.path, columns, [self.lines[row] for row in rows])


def dropped(names: Collection[str]) -> list[str]:
    """What a reader must know of columns that were left out.

    >>> dropped(["id"])
    ['id was left out, as --drop says.']
    """
    return [f"{name} was left out, as --drop says." for name in names]


def number(text: str) -> float | None:
    """A finite number, NaN for a blank, None for anything else.

    >>> number("3.5"), number("inf"), number("red")
    (3.5, None, None)
    """
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def shortened(text: str) -> str:
    """A cell as a message should show it.

    >>> shortened("soon"), len(shortened("x" * 1000))
    ("'soon'", 43)
    """
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def read_table(source: str) -> Table:
    """Read a CSV file with a heading; commas, semicolons, tabs or bars divide it, whichever the heading has most of."""
    path = check_table(source)
    with reading(path, "CSV file"):
        content = content_of(path)
    _require_room(path, content)
    return _parsed(path, decoded(content, str(path), "save it as CSV in UTF-8"))


def _require_room(path: Path, content: bytes) -> None:
    """Raise for a file whose cells do not fit: an empty one has one byte, and takes a hundred in memory."""
    cells = content.count(b"\n") + max(content.count(mark.encode()) for mark in DELIMITERS)
    require_memory(100 * cells + 8 * len(content), f"reading {path}", "give fewer rows or columns")


def _parsed(path: Path, text: str) -> Table:
    heading = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=heading.count), strict=True)
    try:
        names = [name.strip() for name in next(rows, [])]
        _check_heading(path, names)
        cells, lines = [], []
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                raise DataError(
                    f"{path}, line {rows.line_num}: {len(row)} cells, but the heading has {len(names)}; mend that line."
                )
            cells.append(row)
            lines.append(rows.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: not CSV ({error}); mend that line.") from None
    if not cells:
        raise DataError(f"{path} has a heading and no rows; there is nothing to learn from.")
    columns = {name: [_cell(row[index]) for row in cells] for index, name in enumerate(names)}
    return Table(path, columns, lines)


def _check_heading(path: Path, names: list[str]) -> None:
    if len(names) < 2:
        raise DataError(f"{path} has {len(names)} columns; it must have a heading with the target and another column.")
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(names):,} columns, more than the {MOST_COLUMNS:,} allowed; leave some out.")
    ((twice, count),) = Counter(names).most_common(1)
    if count > 1:
        raise DataError(f"{path} has the column {twice!r} twice; give every column a name of its own.")


def _cell(text: str) -> str:
    stripped = text.strip()
    return "" if stripped.lower() in BLANKS else stripped
