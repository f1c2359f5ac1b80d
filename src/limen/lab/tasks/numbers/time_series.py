"""A table of rows in time for forecasting: windows of the past, each with the value that came next.

The splits follow one another in time: training, then validation, then test. A window belongs to the split of the value
it is to forecast, and reaches back into the rows before, as it would in use; no window reaches forward.

Every window is normalised by itself, as in Kim et al. 2022 (RevIN, ICLR): its columns to mean 0 and deviation 1, and
the target to the change from the window's last value in units of the window's deviation. So nothing is learned from
later rows, and a level that training has never seen (a price that has trebled) is no stranger than any other.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import numpy as np
import torch
from numpy.typing import NDArray

from limen.errors import DataError
from limen.lab.data.base import Data
from limen.lab.data.csv_file import Table, dropped, number, read_table, shortened
from limen.lab.data.division import Division, divide
from limen.lab.data.strategies import InTime
from limen.lab.tasks.numbers.data import NumberData, NumberSplit
from limen.memory import require_memory

TIME_NAMES = ("date", "time", "timestamp", "datetime", "day", "month", "year")
FEWEST_WINDOWS = 10
Numbers = NDArray[np.float64]


def load_time_series(
    source: str, target: str, division: Division, *, time: str | None, window: int, drop: Collection[str] = ()
) -> NumberData:
    """Read a CSV file, leave some columns out, order it by time, and cut it into windows."""
    table = read_table(source)
    table.need(target, "--target")
    table = table.without(drop, {"--target": target, "--time": time})
    table.numbers(target)
    when = time or _find_time(table, target)
    table = _ordered(table, when)
    names = [target] + [name for name in table.columns if name not in (target, when) and table.is_numeric(name)]
    series, notes, first = _filled(table, names)
    times = table.columns[when][first:]
    count = len(series) - window
    if count < FEWEST_WINDOWS:
        raise DataError(
            f"{table.path} has {len(series)} rows from the first without a blank, which makes {max(count, 0)} windows "
            f"of {window}; {FEWEST_WINDOWS} or more are needed: give more rows, or a smaller --window."
        )
    require_memory(
        30 * count * window * len(names),
        f"{count:,} windows of {window:,} rows and {len(names):,} columns",
        "give a smaller --window, or fewer rows",
    )
    every = replace(_windows(series, window), times=tuple(times[window:]))
    undivided = Data(table.path.stem, (), every, None, None, unit="windows")
    divided = divide(undivided, division, InTime())
    left_out = [name for name in table.columns if name not in (*names, when)]
    return NumberData(
        name=divided.name,
        classes=(),
        target=target,
        names=tuple(names),
        train=divided.train,
        validation=divided.validation,
        test=divided.test,
        unit=divided.unit,
        description=(
            f"target {target}, one step ahead",
            f"windows of {window} rows, {len(names)} columns",
            f"tested from {divided.tested.times[0]} to {divided.tested.times[-1]}",
        ),
        notes=(*notes, *dropped(drop), *(f"{name} was left out: it is not numeric." for name in left_out)),
    )


def _find_time(table: Table, target: str) -> str:
    """The column of times: one that is called so, else the first whose every value is a date."""
    names = [name for name in table.columns if name != target]
    by_name = [name for name in names if name.lower() in TIME_NAMES and None not in _moments(table, name)]
    dated = (name for name in names if not table.is_numeric(name) and None not in _moments(table, name))
    found = next(iter(by_name), None) or next(dated, None)
    if found is None:
        raise DataError(f"{table.path} has no column of dates to order its rows by; name one with --time COLUMN.")
    return found


def _ordered(table: Table, when: str) -> Table:
    """The rows by time; a time that cannot be read, and one that comes twice, is named."""
    table.need(when, "--time")
    moments: list[float] = []
    for line, moment, text in zip(table.lines, _moments(table, when), table.columns[when], strict=True):
        if moment is None:
            raise DataError(
                f"{table.path}, line {line}: {when} is {shortened(text)}, but must be a date such as 2026-01-31, or a "
                "number."
            )
        moments.append(moment)
    order = sorted(range(len(table)), key=moments.__getitem__)
    for before, after in itertools.pairwise(order):
        if moments[before] == moments[after]:
            raise DataError(
                f"{table.path}, lines {table.lines[before]} and {table.lines[after]}: {when} is "
                f"{table.columns[when][after]!r} twice; give one series, with one row for each time."
            )
    return table.take(order)


def _moments(table: Table, name: str) -> list[float | None]:
    return [_moment(text) for text in table.columns[name]]


def _moment(text: str) -> float | None:
    """A number that orders times; None where it is no time. Naive times count as UTC.

    >>> _moment("1970-01-02"), _moment("1970/01/02"), _moment("1970-01-01 00:00:05"), _moment("1999"), _moment("soon")
    (86400.0, 86400.0, 5.0, 1999.0, None)
    """
    if not text:
        return None
    if (value := number(text)) is not None:
        return value
    try:
        found = datetime.fromisoformat(re.sub(r"^(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3", text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (found.replace(tzinfo=None) - (found.utcoffset() or _NO_TIME) - _EPOCH).total_seconds()


_EPOCH = datetime(1970, 1, 1)
_NO_TIME = _EPOCH - _EPOCH


def _filled(table: Table, names: list[str]) -> tuple[Numbers, list[str], int]:
    """The columns as numbers from the first row that has them all; later blanks are filled from the row before."""
    series = np.array([table.numbers(name) for name in names]).T
    known = ~np.isnan(series)
    first = int(known.argmax(axis=0).max())
    notes = [f"the first {first} rows were left out: a column is still blank there."] if first else []
    for column, name in enumerate(names):
        blank = int((~known[first:, column]).sum())
        if blank:
            notes.append(f"{blank} blank {name} were filled with the value before.")
        last = np.maximum.accumulate(np.where(known[:, column], np.arange(len(series)), 0))
        series[:, column] = series[last, column]
    return series[first:], notes, first


def _windows(series: Numbers, window: int) -> NumberSplit:
    """Every window with what came next.

    Targets have the columns: the normalised change, its unit, the last value.
    """
    past = np.lib.stride_tricks.sliding_window_view(series[:-1], window, axis=0).transpose(0, 2, 1)
    mean, deviation = past.mean(axis=1, keepdims=True), past.std(axis=1, keepdims=True)
    # A column that stands still through its window has no deviation; rounding must not make one up.
    deviation = np.where(deviation <= 1e-12 * np.abs(mean), 1.0, deviation)
    last, unit = past[:, -1, 0], deviation[:, 0, 0]
    change = (series[window:, 0] - last) / unit
    targets = np.stack([change, unit, last], axis=1)
    return NumberSplit(torch.from_numpy((past - mean) / deviation).float(), torch.from_numpy(targets).float())
