"""What of many runs is kept in memory: all that tables need, and of curves and shapes as much as a page can show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, overload

import numpy as np

from limen.lab.records import EpochRow, LayerShape, RunRecord
from limen.lab.report.contents import MANY

MOST_WHOLE, MOST_SEEDS_WHOLE = 500, 50
"""Of so many runs, and of so many seeds of one activation, the learned shapes are kept."""
_NOTHING: dict[str, Any] = {
    "layers": (), "weights": (), "gradients": (), "sites": (), "shown": None, "origin": None
}  # fmt: skip


def bare(run: RunRecord) -> RunRecord:
    """What the tables are made of: 4 kB, where a record takes 100 and more."""
    return run.model_copy(update={**_NOTHING, "curves": Curves(run.curves)})


class Columns(NamedTuple):
    """The epochs of a run, or one of them, with the names of :class:`.records.EpochRow`."""

    epoch: Any
    train_loss: Any
    train_score: Any
    heldout_loss: Any
    heldout_score: Any
    test_score: Any


class Curves(Sequence[Columns]):
    """The epochs of a run as numbers beside each other, a tenth of what its rows take."""

    __slots__ = ("_values",)

    def __init__(self, rows: Sequence[EpochRow]) -> None:
        values = [_READ(row) for row in rows]
        self._values = np.array(values, dtype=np.float64).reshape(-1, len(Columns._fields))  # None becomes NaN

    @property
    def columns(self) -> Columns:
        """All epochs at once, each column an array."""
        return Columns(*self._values.T)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> Columns: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Columns]: ...
    def __getitem__(self, index: int | slice) -> Columns | Sequence[Columns]:
        return [*self][index]

    def __iter__(self) -> Iterator[Columns]:
        return (Columns(int(row[0]), *row[1:]) for row in self._values.tolist())


_READ = attrgetter(*Columns._fields)


def columns(rows: Sequence[EpochRow]) -> Columns:
    """The epochs of a run, each column an array."""
    return (rows if isinstance(rows, Curves) else Curves(rows)).columns


class Condensed:
    """What the report needs of each run of a study, read one after the other."""

    def __init__(self, runs: int, activations: int) -> None:
        self._many = runs > MANY
        most = max(1, min(MOST_SEEDS_WHOLE, MOST_WHOLE // activations))
        self._every = math.ceil(runs / activations / most)
        self._read: Counter[str] = Counter()
        self._shown: set[str] = set()

    def __call__(self, run: RunRecord) -> RunRecord:
        """The run as it is where there are few; else without what the page cannot show."""
        if not self._many:
            return run
        changed: dict[str, Any] = {"curves": Curves(run.curves), "gradients": (), "sites": (), "origin": None}
        if self._read[run.activation] % self._every:
            changed |= {"weights": (), "layers": tuple(map(_outlined, run.layers))}
        if run.activation in self._shown:
            changed["shown"] = None
        elif run.shown is not None and run.status == "finished":
            self._shown.add(run.activation)
        self._read[run.activation] += 1
        return run.model_copy(update=changed)


def _outlined(layer: LayerShape) -> LayerShape:
    """A layer's parameters and weights, without its curve."""
    return layer.model_copy(update={"x": (), "y": (), "density": ()})
