"""A text as windows of tokens, divided by position: training, then validation, then test.

A window's targets are the tokens one place after its inputs. Windows of what is held out do not overlap, and every
token of it is predicted once: its first from the last token before it, its last in a window that is filled up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.base import Data, Samples
from limen.lab.data.division import Division, divide
from limen.lab.data.strategies import InTime
from limen.lab.data.tokens import Encoded, Numbers, Tokens, tokens_of
from limen.lab.tasks.language.texts import BETWEEN, WHOLE, Texts, read_texts
from limen.memory import require_memory

PADDED = -100
"""In the place of a token that is not there to be predicted: what torch's cross-entropy leaves out."""
NEXT, SIZE = 0, 1
"""The columns of a target: the token, and of how many bytes it is."""


@dataclass(frozen=True, eq=False)
class Windows(Samples):
    """Tokens as int32 (N, T), and as int32 (N, T, 2) the token that follows each with the bytes that it stands for."""

    inputs: Tensor
    targets: Tensor

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """As embeddings and losses take them."""
        return inputs.long(), targets.long()


@dataclass(frozen=True, eq=False)
class LanguageData(Data[Windows]):
    """A text as windows of tokens."""

    unit: str = "windows"
    tokens: Tokens | None = None

    @property
    def vocabulary(self) -> Tokens:
        """Its tokens."""
        assert self.tokens is not None
        return self.tokens

    def describe(self) -> tuple[str, ...]:
        """Tokens, windows, bytes tested on."""
        tested = self.tested.targets
        counted = int(tested[tested[:, :, NEXT] != PADDED][:, SIZE].sum())
        return (
            f"{self.vocabulary.size:,} different {self.vocabulary.noun}",
            f"windows of {self.input_shape[0]:,}",
            f"tested on {counted:,} bytes",
        )


def load_language(
    source: str, division: Division, *, tokens: str, window: int, stride: int | None, key: str | None
) -> LanguageData:
    """Read a text, divide it by position, and cut it into windows."""
    texts = read_texts(source, key)
    parts = _divided(texts, division)
    known = tokens_of(tokens, parts["train"])
    encoded = {part: known.encode(text) for part, text in parts.items()}
    _check_lengths(texts.name, encoded, window, known.noun)
    made = _windows(encoded, window, stride or window)
    said = {part: known.said_of(parts[part], encoded[part]) for part in parts}
    notes = [f"the {part} text {sentence}" for part, sentence in said.items() if sentence]
    data = LanguageData(
        texts.name,
        (),
        made["train"],
        made.get("validation"),
        made["test"],
        (*texts.notes, *notes),
        tokens=known,
    )
    return divide(data, division, InTime())


def load_other(source: str, data: LanguageData, key: str | None) -> LanguageData:
    """All of another text in the tokens and the windows of the data's; of its first token nothing is asked."""
    texts = read_texts(source, key)
    text = BETWEEN.join(texts.parts.values())
    known, (window,) = data.vocabulary, data.input_shape
    encoded = known.encode(text)
    _check_lengths(texts.name, {"test": encoded}, window, known.noun)
    require_memory(24 * len(encoded), f"{len(encoded):,} tokens in windows", "give less text")
    windows = _cut_out(encoded.tokens, encoded.sizes, np.arange(1, len(encoded), window), window, len(encoded))
    said = known.said_of(text, encoded)
    notes = (*texts.notes, *((f"the text of {texts.name} {said}",) if said else ()))
    return replace(data, name=texts.name, train=windows, validation=None, test=None, notes=notes)


def _divided(texts: Texts, division: Division) -> dict[str, str]:
    """The text of each part in its order; a test text that is missing is the last of the training text."""
    parts = dict(texts.parts)
    train = parts.pop(WHOLE, "") or parts["train"]
    test, validation = parts.get("test"), parts.get("validation")
    if test is None:
        train, test = _cut(train, division.test_fraction)
    if not division.with_validation:
        return {"train": train, "test": test}
    if validation is None:
        train, validation = _cut(train, division.validation_fraction)
    return {"train": train, "validation": validation, "test": test}


def _cut(text: str, fraction: float) -> tuple[str, str]:
    place = len(text) - max(1, round(fraction * len(text)))
    return text[:place], text[place:]


def _check_lengths(name: str, encoded: dict[str, Encoded], window: int, noun: str) -> None:
    fewest = {part: window + 1 for part in encoded} | {"train": 2 * window + 1}
    for part, found in encoded.items():
        if len(found) < fewest[part]:
            raise DataError(
                f"the {'training' if part == 'train' else part} text of {name} has {len(found):,} {noun}, and "
                f"{fewest[part]:,} or more are needed for windows of {window:,}: give more text, or a smaller --window."
            )


def _windows(encoded: dict[str, Encoded], window: int, stride: int) -> dict[str, Windows]:
    """The windows of each part, the first of which begins with the last token before it."""
    ordered = [part for part in ("train", "validation", "test") if part in encoded]
    count = sum(len(found) for found in encoded.values()) * math.ceil(window / stride)
    require_memory(24 * count, f"{count:,} tokens in windows", "give less text, or a larger --stride")
    tokens = np.concatenate([encoded[part].tokens for part in ordered])
    sizes = np.concatenate([encoded[part].sizes for part in ordered])
    ends = np.cumsum([0, *(len(encoded[part]) for part in ordered)]).tolist()
    made: dict[str, Windows] = {}
    for part, (start, end) in zip(ordered, pairwise(ends), strict=True):
        if part == "train":
            made[part] = _cut_out(tokens, sizes, np.arange(1, end - window + 1, stride), window, end)
        else:
            made[part] = _cut_out(tokens, sizes, np.arange(start, end, window), window, end)
    return made


def _cut_out(tokens: Numbers, sizes: Numbers, starts: NDArray[np.int64], window: int, end: int) -> Windows:
    """The windows whose targets begin at these places; from ``end`` on there are none."""
    places = torch.from_numpy(starts[:, None] + np.arange(window))
    there = places < end
    places = places.clamp(max=end - 1)
    every, lengths = torch.from_numpy(tokens), torch.from_numpy(sizes)
    targets = torch.stack([every[places].masked_fill(~there, PADDED), lengths[places].masked_fill(~there, 0)], -1)
    return Windows(every[places - 1], targets)
