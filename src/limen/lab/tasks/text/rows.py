"""Texts with a class each, from two columns of a CSV file: every text as the numbers of its words.

A word is a run of letters and digits in lower case, or a mark by itself. Its number is what is left of its checksum, so
that no vocabulary is learned and none is too large; two words in :data:`BUCKETS` may share one.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.base import Data, Samples
from limen.lab.data.by_class import ByClass
from limen.lab.data.csv_file import Table, read_table, shortened
from limen.lab.data.division import Division, divide
from limen.lab.data.layout import class_order
from limen.memory import require_memory

TEXT = "text"
"""The column of texts where no other is named."""
BUCKETS = 2**14
"""Numbers of words, from 1; 0 fills up what is shorter than the longest."""
MOST_CLASSES, FEWEST_ROWS = 1000, 3
"""Of each class one row is trained on, one validated and one tested."""
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, eq=False)
class TextRows(Samples):
    """Numbers of words as int32 (N, T), 0 behind the last, and labels as int64 (N,)."""

    inputs: Tensor
    labels: Tensor

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """As embeddings take them."""
        return inputs.long(), targets

    def relabelled(self, places: Tensor, classes: int) -> TextRows:
        """Each label by its place."""
        return replace(self, labels=places[self.labels])

    def per_class(self, classes: int) -> tuple[int, ...]:
        """Texts of each class."""
        return tuple(torch.bincount(self.labels, minlength=classes).tolist())


@dataclass(frozen=True, eq=False)
class TextData(Data[TextRows]):
    """Texts with a class each."""

    unit: str = "texts"

    def describe(self) -> tuple[str, ...]:
        """Classes, and the longest text."""
        return (f"{len(self.classes)} classes", f"up to {self.input_shape[0]:,} words")


def load_rows(source: str, division: Division, *, text: str | None, target: str, window: int) -> TextData:
    """Read a CSV file, leave out what has no text or no class, and divide the rest by class."""
    kept, notes = _rows_of(source, text, target)
    _check_classes(kept.path.name, target, kept.columns[target])
    return divide(_encoded(kept, notes, text, target, window), division, ByClass())


def load_other(source: str, *, text: str | None, target: str, window: int) -> TextData:
    """All rows of another file that have a text and a class, each of so many words, undivided."""
    kept, notes = _rows_of(source, text, target)
    return _encoded(kept, notes, text, target, window, shortest=window)


def _rows_of(source: str, text: str | None, target: str) -> tuple[Table, list[str]]:
    """The rows that can be read, and what was left out."""
    table = read_table(source)
    column = text or TEXT
    table.need(column, "--text")
    table.need(target, "--target")
    if column == target:
        raise DataError(f"--text and --target both name {column!r}; the class cannot be the text itself.")
    return _without_blanks(table, column, target)


def _encoded(kept: Table, notes: list[str], text: str | None, target: str, window: int, shortest: int = 1) -> TextData:
    """Words as numbers and classes as places, with ``shortest`` or more words a text."""
    classes = tuple(class_order(list(set(kept.columns[target]))))
    words = [numbers(one) for one in kept.columns[text or TEXT]]
    longer = sum(len(one) > window for one in words)
    if longer:
        notes.append(f"{longer:,} texts are longer than {window:,} words, of which only the first are read (--window).")
    inputs = _filled_up(words, max(shortest, min(window, max(map(len, words)))))
    places = {name: place for place, name in enumerate(classes)}
    labels = torch.tensor([places[name] for name in kept.columns[target]])
    return TextData(kept.path.stem, classes, TextRows(inputs, labels), None, None, tuple(notes))


def numbers(text: str) -> list[int]:
    """The words of a text, by their checksums.

    >>> numbers("The end.") == numbers("the END ."), numbers("the")[0] == numbers("end")[0]
    (True, False)
    """
    return [1 + zlib.crc32(word.encode()) % (BUCKETS - 1) for word in _WORD.findall(text.lower())]


def _without_blanks(table: Table, column: str, target: str) -> tuple[Table, list[str]]:
    """The rows that have a class and words, and what was left out."""
    there = {
        f"without a {target}": [bool(cell) for cell in table.columns[target]],
        f"without a word in {column}": [bool(_WORD.search(cell)) for cell in table.columns[column]],
    }
    rows = [row for row in range(len(table)) if all(known[row] for known in there.values())]
    if not rows:
        raise DataError(f"{table.path} has no row with both a {target} and a word in {column}; give some.")
    notes = [f"{known.count(False):,} rows {what} were left out." for what, known in there.items() if not all(known)]
    return table.take(rows), notes


def _check_classes(name: str, target: str, cells: list[str]) -> None:
    """There are several, and of each there is one to train, to validate and to test."""
    counts = Counter(cells)
    if not 2 <= len(counts) <= MOST_CLASSES:
        raise DataError(
            f"{name} has {len(counts):,} different values of {target}; a comparison needs 2 to {MOST_CLASSES:,} "
            "classes: name another --target."
        )
    rarest = min(counts, key=lambda one: (counts[one], one))
    if counts[rarest] < FEWEST_ROWS:
        raise DataError(
            f"{name} has {counts[rarest]} rows whose {target} is {shortened(rarest)}; every class needs "
            f"{FEWEST_ROWS}, to be trained, validated and tested: give more, or leave it out."
        )


def _filled_up(words: list[list[int]], longest: int) -> Tensor:
    require_memory(8 * len(words) * longest, f"{len(words):,} texts of {longest:,} words", "give a smaller --window")
    filled = np.zeros((len(words), longest), dtype=np.int32)
    for row, own in enumerate(words):
        own = own[:longest]
        filled[row, : len(own)] = own
    return torch.from_numpy(filled)
