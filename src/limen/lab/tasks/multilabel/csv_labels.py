"""A CSV file with a column of images: each other column a label of 0 and 1, or one with a list of labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from limen.errors import DataError
from limen.lab.data.csv_file import Table, read_table, shortened
from limen.lab.tasks.multilabel.named import WHOLE, Named, check_names, part_of

IMAGE_NAMES = ("image", "image_path", "image index", "path", "file", "filename", "file_name", "filepath", "img")
"""What the column of images is called; where none is, it is the first."""
SPLIT = "split"
VALUES = {"0": False, "0.0": False, "1": True, "1.0": True}


def read_csv(source: str, target: str | None, drop: Collection[str]) -> tuple[list[Named], tuple[str, ...]]:
    """Every image, and the labels in the file's order, or by name where the file lists them."""
    table = read_table(source)
    if target is not None:
        table.need(target, "--target")
    table = table.without(drop, {"--target": target})
    images = _image_column(table, target)
    others = [name for name in table.columns if name != images and name.lower() != SPLIT]
    if not others:
        raise DataError(f"{table.path} has no column of labels beside {images!r}; add one, or leave out --drop.")
    if target is None and len(others) == 1 and not _is_label(table.columns[others[0]]):
        target = others[0]
    labels, known = _listed(table, target) if target is not None else _marked(table, others)
    parts = _parts(table)
    found = []
    for row, line in enumerate(table.lines):
        where, image = f"{table.path}, line {line}", table.columns[images][row]
        if not image:
            raise DataError(f"{where}: {images} is blank, but must name an image.")
        found.append(Named(image, labels(row), parts(row), where))
    return found, known


def _image_column(table: Table, target: str | None) -> str:
    names = [name for name in table.columns if name != target]
    return next((name for name in names if name.lower() in IMAGE_NAMES), names[0])


def _is_label(cells: list[str]) -> bool:
    return all(cell in VALUES for cell in cells)


def _parts(table: Table) -> Callable[[int], str]:
    name = next((name for name in table.columns if name.lower() == SPLIT), None)
    if name is None:
        return lambda row: WHOLE
    return lambda row: part_of(table.columns[name][row], f"{table.path}, line {table.lines[row]}")


def _listed(table: Table, column: str) -> tuple[Callable[[int], frozenset[str]], tuple[str, ...]]:
    """Labels divided by ``;`` or ``|`` in one cell; an empty cell has none."""
    cells = [[text for part in re.split("[;|]", cell) if (text := part.strip())] for cell in table.columns[column]]
    check_names(
        [
            (name, f"{table.path}, line {line},")
            for line, names in zip(table.lines, cells, strict=True)
            for name in names
        ],
        table.path,
    )
    return lambda row: frozenset(cells[row]), tuple(sorted({name for names in cells for name in names}))


def _marked(table: Table, columns: list[str]) -> tuple[Callable[[int], frozenset[str]], tuple[str, ...]]:
    """A column a label."""
    check_names([(name, f"{table.path}") for name in columns], table.path)
    for name in columns:
        for line, cell in zip(table.lines, table.columns[name], strict=True):
            if cell not in VALUES:
                given = shortened(cell) if cell else "blank"
                raise DataError(
                    f"{table.path}, line {line}: {name} is {given}, but a column of labels holds 0 or 1; mend the "
                    "cell, leave the column out with --drop, or name the one column that lists labels with --target."
                )
    return lambda row: frozenset(name for name in columns if VALUES[table.columns[name][row]]), tuple(columns)
