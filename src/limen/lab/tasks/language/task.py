"""Language modelling: the next token of a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.errors import StudyError
from limen.lab.data import Division
from limen.lab.records import Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.language import causality, declared, measures
from limen.lab.tasks.language.windows import NEXT, PADDED, SIZE, LanguageData, load_language, load_other
from limen.lab.tasks.language.writing import written
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task


class Language(declared.Language, Task[LanguageData]):
    """Cross-entropy of the next token; bits per byte decide."""

    def load(self, settings: StudySettings) -> LanguageData:
        """A text by path, divided by position and cut into windows."""
        return load_language(
            settings.data,
            Division.of(settings),
            tokens=settings.tokens,
            window=settings.window,
            stride=settings.stride,
            key=settings.text,
        )

    def other(self, data: LanguageData, settings: StudySettings) -> LanguageData:
        """All of another text, in the tokens of the training text."""
        assert settings.test_data is not None
        return load_other(settings.test_data, data, settings.text)

    def offered(self, data: LanguageData) -> Mapping[str, Any]:
        """How many tokens there are, and of how many a window is, by the names that such networks have for them."""
        count, (window,) = data.vocabulary.size, data.input_shape
        sizes = dict.fromkeys(("vocabulary", "vocab_size", "num_tokens", "num_embeddings"), count)
        return sizes | dict.fromkeys(("window", "block_size", "context_length", "max_seq_len"), window)

    def output_shape(self, data: LanguageData) -> tuple[int, ...]:
        """One number a token of the vocabulary at every place."""
        return (*data.input_shape, data.vocabulary.size)

    def begin(self, network: nn.Module, data: LanguageData, settings: StudySettings) -> None:
        """What sees the tokens that it is to predict is no language model."""
        inputs = data.train.inputs[:1].long().to(settings.device)
        if causality.looks_ahead(network, inputs, data.vocabulary.size):
            raise StudyError(
                f"{settings.network!r} with these activations sees the tokens that it is to predict: its answers "
                "change with later tokens. Give the activation context=token, or a network that is causal."
            )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits, the mean over all tokens that are there."""
        return F.cross_entropy(outputs.flatten(0, 1), targets[:, :, NEXT].flatten(), ignore_index=PADDED)

    def meters(self, data: LanguageData) -> dict[str, Meter]:
        """Bits per byte, perplexity, accuracy."""
        scores = (measures.bits_per_byte, measures.perplexity, measures.accuracy)
        return {score.__name__: measures.TextScore(score) for score in scores}

    def answer(self, outputs: Tensor, targets: Tensor, data: LanguageData) -> tuple[Tensor, Tensor]:
        """The loss of every token and whether it was predicted; its bytes, and whether it is there."""
        known, truth = data.vocabulary, targets[:, :, NEXT]
        nats = F.cross_entropy(outputs.transpose(1, 2), truth, ignore_index=PADDED, reduction="none")
        hits = outputs.argmax(2) == truth
        if known.unknown is not None:
            unknown = truth == known.unknown
            nats, hits = nats + unknown * (known.naming * math.log(2)), hits & ~unknown
        return torch.stack([nats, hits.to(nats)], -1), torch.stack([targets[:, :, SIZE], (truth != PADDED).long()], -1)

    @torch.no_grad()
    def show(self, network: nn.Module, data: LanguageData, settings: StudySettings) -> Shown:
        """How well it predicts by place, and what it writes."""
        return written(network.eval(), data, settings)
