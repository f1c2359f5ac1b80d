"""A table of independent rows for regression: columns to numbers, by what the training rows alone show."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from limen.errors import DataError
from limen.lab.tasks.numbers.csv_file import Table, read_table
from limen.lab.tasks.numbers.data import NumberData, NumberSplit

MOST_CATEGORIES = 50
"""A text column with more values than this names its rows rather than describing them, and is left out."""
FEWEST_ROWS = 10
Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


def load_tabular(
    source: str,
    target: str,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    with_validation: bool,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> NumberData:
    """Read a CSV file, divide its rows at random, and encode them by the training rows."""
    table = read_table(source)
    table.need(target, "--target")
    truth = np.array(table.numbers(target))
    known = np.flatnonzero(~np.isnan(truth))
    if len(known) < FEWEST_ROWS:
        raise DataError(f"{table.path} has {len(known)} rows with a {target}; {FEWEST_ROWS} or more are needed.")
    order = known[np.random.RandomState(seed).permutation(len(known))]
    test, rest = _cut(order, test_fraction)
    train = rest[:limit_train]
    validation: Rows | None = None
    if with_validation:
        validation, train = _cut(train, validation_fraction)
    _check(table, target, truth[train])
    encoder = _Encoder.fitted(table, target, np.sort(train))
    centre, scale = float(truth[train].mean()), float(truth[train].std())
    targets = np.stack([(truth - centre) / scale, np.full_like(truth, scale)], axis=1)

    def split(rows: Rows) -> NumberSplit:
        rows = np.sort(rows)
        return NumberSplit(
            torch.from_numpy(encoder.encode(table, rows)).float(), torch.from_numpy(targets[rows]).float()
        )

    dropped = len(truth) - len(known)
    unknown = [f"{dropped} rows without a {target} were left out."] if dropped else []
    return NumberData(
        name=table.path.stem,
        target=target,
        train=split(train),
        validation=None if validation is None else split(validation),
        test=split(test[:limit_test]),
        unit="rows",
        description=(f"target {target}", f"{len(encoder.names)} inputs"),
        notes=(*unknown, *encoder.notes),
        centre=centre,
    )


def _cut(rows: Rows, fraction: float) -> tuple[Rows, Rows]:
    """Part the rows: so many of them, two at least, and the rest."""
    count = min(max(2, round(fraction * len(rows))), len(rows) - 2)
    if count < 1:
        raise DataError(f"{len(rows)} rows are too few to divide; give more rows, or raise --limit-train.")
    return rows[:count], rows[count:]


def _check(table: Table, target: str, truth: Numbers) -> None:
    if truth.std() == 0:
        raise DataError(f"{table.path}: {target} is {truth[0]:g} in every training row; there is nothing to predict.")


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
        columns: list[Numbers] = []
        for name, (median, mean, deviation) in self.numeric.items():
            values = np.array(table.numbers(name))[rows]
            columns.append((np.where(np.isnan(values), median, values) - mean) / deviation)
        for name, known in self.categories.items():
            cells = table.columns[name]
            columns += [np.array([float(cells[row] == value) for row in rows]) for value in known]
        return np.stack(columns, axis=1) if columns else np.full((len(rows), 0), math.nan)
