"""Text as numbers: characters, bytes, or the tokens of a file that the ``tokenizers`` library reads."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limen.errors import DataError, require
from limen.lab.data.members import content_of, reading
from limen.lab.data.named import BYTES, CHARACTERS

UNICODE = 0x110000 - 0x800
"""Characters that there can be: all places but the halves of surrogate pairs."""
UNKNOWN = "�"

Numbers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A text as tokens, and how many of its bytes (UTF-8) each stands for; the bytes of all are those of the text."""

    tokens: Numbers
    sizes: Numbers

    def __len__(self) -> int:
        return len(self.tokens)


class Tokens(ABC):
    """What a text is made of."""

    noun: str
    """Several of them."""
    size: int
    """How many there are."""
    unknown: int | None = None
    """The one that stands for all that is none of the others."""
    naming: float = 0.0
    """Bits that say which of all the others an unknown one is."""

    @abstractmethod
    def encode(self, text: str) -> Encoded:
        """A text as numbers."""

    @abstractmethod
    def text_of(self, tokens: Sequence[int]) -> str:
        """Numbers as text; what is no text is shown as such."""

    def said_of(self, text: str, encoded: Encoded) -> str:
        """What a reader must know of a text that was encoded; empty where nothing was lost."""
        return ""


class Characters(Tokens):
    """The characters of a training text; any other is one that is unknown.

    >>> tokens = Characters("abba")
    >>> tokens.size, tokens.encode("baé").tokens.tolist(), tokens.encode("baé").sizes.tolist()
    (3, [1, 0, 2], [1, 1, 2])
    """

    noun = CHARACTERS

    def __init__(self, text: str) -> None:
        self._known = np.unique(_codes(text))
        self.unknown = len(self._known)
        self.size = len(self._known) + 1
        self.naming = math.log2(UNICODE - len(self._known))

    def encode(self, text: str) -> Encoded:
        """By their places in the order of Unicode."""
        codes = _codes(text)
        places = np.searchsorted(self._known, codes).clip(max=len(self._known) - 1)
        tokens = np.where(self._known[places] == codes, places, len(self._known))
        return Encoded(tokens.astype(np.int32), _bytes_of(codes))

    def text_of(self, tokens: Sequence[int]) -> str:
        """The unknown one as Unicode shows what it cannot."""
        return "".join(UNKNOWN if token >= len(self._known) else chr(self._known[token]) for token in tokens)

    def said_of(self, text: str, encoded: Encoded) -> str:
        """How many are unknown, and which."""
        places = np.flatnonzero(encoded.tokens == self.unknown)
        if not len(places):
            return ""
        kinds = sorted({text[place] for place in places.tolist()})
        shown = ", ".join(map(repr, kinds[:5])) + (f" and {len(kinds) - 5} more" if len(kinds) > 5 else "")
        return (
            f"has {len(places):,} characters that the training text lacks ({shown}): each is one unknown token, which "
            f"costs {self.naming:.1f} bits more, as many as say which of all other characters it is, and is never "
            "predicted right."
        )


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def _bytes_of(codes: NDArray[np.uint32]) -> Numbers:
    """How many bytes of UTF-8 each character has."""
    longer = np.searchsorted(np.array([0x80, 0x800, 0x10000], dtype=np.uint32), codes, side="right")
    return (1 + longer).astype(np.int32)


class Bytes(Tokens):
    """The 256 bytes of UTF-8, of which every text is made.

    >>> Bytes().encode("é").tokens.tolist(), Bytes().text_of([195, 169])
    ([195, 169], 'é')
    """

    noun, size = BYTES, 256

    def encode(self, text: str) -> Encoded:
        """As they are stored."""
        stored = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)
        return Encoded(stored, np.ones_like(stored))

    def text_of(self, tokens: Sequence[int]) -> str:
        """What is no text in UTF-8 is shown as such."""
        return bytes(tokens).decode(errors="replace")


class FromFile(Tokens):
    """The tokens of a ``tokenizer.json``, without those that mark beginning or end."""

    noun = "tokens"

    def __init__(self, path: Path) -> None:
        library: Any = require("tokenizers", "tokenizers", f"--tokens {path} is read by tokenizers")
        with reading(path, "tokenizer"):
            content = content_of(path)
        try:
            self._tokenizer = library.Tokenizer.from_str(content.decode())
        except Exception as error:  # the library raises nothing more particular
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{path} is no tokenizer ({reason}); give a tokenizer.json.") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._path = path
        self.size = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)

    def encode(self, text: str) -> Encoded:
        """Bytes that no token names, as spaces that were taken off, count to the token behind them."""
        try:
            found = self._tokenizer.encode(text, add_special_tokens=False)
        except Exception as error:  # such as a word that is not known, without a token for such
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{self._path} cannot read the text ({reason}); give another tokenizer.") from None
        if not found.ids:
            raise DataError(f"{self._path} makes no token of the text; give another tokenizer.")
        ends = np.maximum.accumulate(np.array([end for _, end in found.offsets], dtype=np.int64))
        ends[-1] = len(text)
        upto = np.concatenate([[0], np.cumsum(_bytes_of(_codes(text)), dtype=np.int64)])[ends]
        return Encoded(np.array(found.ids, dtype=np.int32), np.diff(upto, prepend=0).astype(np.int32))

    def text_of(self, tokens: Sequence[int]) -> str:
        """By the file's own decoder."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    def said_of(self, text: str, encoded: Encoded) -> str:
        """Whether its tokens are the text again."""
        if self.text_of(encoded.tokens.tolist()) == text:
            return ""
        return (
            f"is not what {self._path.name} makes of its tokens again: bits per byte are of what it keeps, and compare "
            "activations of this study alone."
        )


def tokens_of(name: str, training: str) -> Tokens:
    """What ``--tokens`` names, for a text to train on."""
    if name == CHARACTERS:
        return Characters(training)
    return Bytes() if name == BYTES else FromFile(Path(name).expanduser())
