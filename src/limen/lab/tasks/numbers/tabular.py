"""A table of independent rows for regression: columns to numbers, by what the training rows alone show."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.base import Data, Samples
from limen.lab.data.csv_file import Table, dropped, number, read_table, shortened
from limen.lab.data.division import Division, divide
from limen.lab.data.strategies import Shuffled
from limen.lab.tasks.numbers.data import NumberData, NumberSplit
from limen.memory import require_memory

MOST_CATEGORIES = 50
"""A text column with more values than this names its rows rather than describing them, and is left out."""
FEWEST_ROWS = 10
NUMERIC = 0.9
"""Part of a column's cells from which it is one of numbers, and a text in it a mistake; below, its values are names."""
Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


def load_tabular(source: str, target: str, division: Division, *, drop: Collection[str] = ()) -> NumberData:
    """Read a CSV file, leave some columns out, divide its rows at random, and encode them by the training rows."""
    table = read_table(source)
    table.need(target, "--target")
    table = table.without(drop, {"--target": target})
    truth = np.array(table.numbers(target))
    known = np.flatnonzero(~np.isnan(truth))
    if len(known) < FEWEST_ROWS:
        raise DataError(f"{table.path} has {len(known)} rows with a {target}; {FEWEST_ROWS} or more are needed.")
    rows = _Rows(torch.from_numpy(known), torch.from_numpy(truth[known]))
    divided = divide(Data(table.path.stem, (), rows, None, None, unit="rows"), division, Shuffled())
    learned = divided.train.truth.numpy()
    _check(table, target, learned)
    encoder = _Encoder.fitted(table, target, divided.train.sorted())
    require_memory(
        30 * len(table) * len(encoder.names),
        f"{len(encoder.names):,} inputs of {len(table):,} rows",
        "leave out columns of text, or rows",
    )
    centre, scale = float(learned.mean()), float(learned.std())
    encode = partial(_encoded, encoder, target, centre, scale)

    def split(part: _Rows) -> NumberSplit:
        return encode(table, part.sorted())

    blank = len(truth) - len(known)
    unknown = [f"{blank} rows without a {target} were left out."] if blank else []
    return NumberData(
        name=divided.name,
        classes=(),
        target=target,
        train=split(divided.train),
        validation=None if divided.validation is None else split(divided.validation),
        test=split(divided.tested),
        unit=divided.unit,
        description=(f"target {target}", f"{len(encoder.names)} inputs"),
        notes=(*unknown, *dropped(drop), *encoder.notes),
        names=tuple(encoder.names),
        centre=centre,
        encode=encode,
    )


def _encoded(
    encoder: _Encoder, target: str, centre: float, scale: float, table: Table, rows: Rows | None = None
) -> NumberSplit:
    """Some rows of a table, or all that have a target, with the change from the centre in units of the scale."""
    truth = np.array(table.numbers(target))
    chosen = np.flatnonzero(~np.isnan(truth)) if rows is None else rows
    targets = np.stack([(truth - centre) / scale, np.full_like(truth, scale)], axis=1)
    return NumberSplit(
        torch.from_numpy(encoder.encode(table, chosen)).float(), torch.from_numpy(targets[chosen]).float()
    )


@dataclass(frozen=True, eq=False)
class _Rows(Samples):
    """Rows of a table before they are encoded: their numbers and targets."""

    numbers: Tensor
    truth: Tensor

    def sorted(self) -> Rows:
        """The numbers as the file has them."""
        return np.sort(self.numbers.numpy())


def _check(table: Table, target: str, truth: Numbers) -> None:
    if truth.std() == 0:
        raise DataError(f"{table.path}: {target} is {truth[0]:g} in every training row; there is nothing to predict.")


def _check_texts(table: Table, name: str) -> None:
    """A column of names is not one of numbers with a slip in it."""
    given = [(line, cell) for line, cell in zip(table.lines, table.columns[name], strict=True) if cell]
    texts = [(line, cell) for line, cell in given if number(cell) is None]
    numbers = len(given) - len(texts)
    if texts and numbers >= NUMERIC * len(given):
        line, cell = texts[0]
        raise DataError(
            f"{table.path}, line {line}: {name} is {shortened(cell)}, but {numbers:,} of the "
            f"{len(given):,} cells of that column are numbers; mend or empty the cell, or leave the column out with "
            f"--drop {name}."
        )


@dataclass
class _Encoder:
    """Columns to numbers. Numeric: blanks get the median, then mean 0 and deviation 1. Text: one column a value."""

    numeric: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Median, mean and deviation of the training rows."""
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Every input."""
        return [*self.numeric, *(f"{name}={value}" for name, values in self.categories.items() for value in values)]

    @property
    def columns(self) -> list[str]:
        """Every column that it reads."""
        return [*self.numeric, *self.categories]

    @classmethod
    def fitted(cls, table: Table, target: str, rows: Rows) -> _Encoder:
        """Learn medians, means, deviations and categories from these rows."""
        encoder = cls()
        for name in table.columns:
            if name == target:
                continue
            if table.is_numeric(name):
                encoder._fit_numbers(name, table, rows)
            else:
                _check_texts(table, name)
                encoder._fit_text(name, table, rows)
        if not encoder.names:
            raise DataError(f"{table.path} has no column to predict {target} from.")
        return encoder

    def _fit_numbers(self, name: str, table: Table, rows: Rows) -> None:
        every = np.array(table.numbers(name))
        seen = every[rows]
        if np.isnan(seen).all():
            self.notes.append(f"{name} was left out: it is blank in every training row.")
            return
        median = float(np.nanmedian(seen))
        filled = np.where(np.isnan(seen), median, seen)
        self.numeric[name] = (median, float(filled.mean()), float(filled.std()) or 1.0)
        if blank := int(np.isnan(every).sum()):
            self.notes.append(f"{blank} blank {name} were filled with the training median, {median:g}.")

    def _fit_text(self, name: str, table: Table, rows: Rows) -> None:
        values = sorted({table.columns[name][row] for row in rows} - {""})
        if len(values) > MOST_CATEGORIES:
            self.notes.append(f"{name} was left out: {len(values)} different texts, more than {MOST_CATEGORIES}.")
        elif values:
            self.categories[name] = tuple(values)

    def encode(self, table: Table, rows: Rows) -> Numbers:
        """The inputs of these rows; a category that no training row has is zeros throughout."""
        missing = [name for name in self.columns if name not in table.columns]
        if missing:
            raise DataError(
                f"{table.path} has no column {', '.join(map(repr, missing))}, which was learned from; it has "
                f"{', '.join(map(repr, table.columns))}."
            )
        columns: list[Numbers] = []
        for name, (median, mean, deviation) in self.numeric.items():
            values = np.array(table.numbers(name))[rows]
            columns.append((np.where(np.isnan(values), median, values) - mean) / deviation)
        for name, known in self.categories.items():
            cells, places = table.columns[name], {value: place for place, value in enumerate(known)}
            codes = np.array([places.get(cells[row], -1) for row in rows])
            columns += [(codes == place).astype(np.float64) for place in places.values()]
        return np.stack(columns, axis=1) if columns else np.full((len(rows), 0), math.nan)
