"""Language modelling, as far as it is known without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from limen.errors import SpecError
from limen.lab.data.named import check_path, check_tokens
from limen.lab.declaration import Declaration
from limen.lab.metric import NOT_NEGATIVE, Metric, fraction
from limen.lab.networks.catalogue import Catalogue, Family

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings

HERE = "limen.lab.tasks.language"
SIZE = r"(?P<layers>\d+)x(?P<width>\d+)"


class Language(Declaration):
    """The next token of a text; bits per byte decide, and fewer are better."""

    name = "language"
    about = "the next character, byte or token of a text file, a folder or archive of .txt, or .jsonl (--tokens)"
    measure = Metric("bits_per_byte", "bits per byte", higher_is_better=False, bounds=NOT_NEGATIVE, decimals=4)
    metrics = (
        measure,
        Metric("perplexity", "perplexity", higher_is_better=False, bounds=(1.0, math.inf)),
        fraction("accuracy", "next-token accuracy"),
    )
    networks = Catalogue(
        {"lstm-lm": f"{HERE}.recurrent:LSTMLanguageModel"},
        (
            Family(rf"gpt-{SIZE}", f"{HERE}.gpt:GPT", {}, ("gpt-2x64", "gpt-4x128")),
            Family(rf"gpt-{SIZE}-glu", f"{HERE}.gpt:GPT", {"gated": True}, ("gpt-4x128-glu",)),
            Family(rf"llama-{SIZE}", f"{HERE}.llama:llama", {}, ("llama-2x64",)),
        ),
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": "gpt-2x64",
        "batch_size": 32,
        "eval_batch_size": 64,
        "window": 128,
    }
    options = frozenset({"test_data", "tokens", "window", "stride", "text"})
    observed = 16

    def look(self, settings: StudySettings) -> None:
        """A path to text, and what it is divided into."""
        check_path(settings.data, "a text file, or a folder or archive of .txt or .jsonl files")
        check_tokens(settings.tokens)

    def check(self, settings: StudySettings) -> None:
        """Windows are not further apart than they are long."""
        if settings.stride is not None and settings.stride > settings.window:
            raise SpecError(
                f"--stride {settings.stride} would leave out tokens between windows of {settings.window}; give "
                f"{settings.window} or less."
            )

    def seen_in_a_step(self, settings: StudySettings) -> tuple[int, str]:
        """Tokens."""
        return settings.batch_size * settings.window, "tokens"
