"""Small networks that tell classes of texts, from the numbers of their words (N, T), 0 behind the last."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGE_PRIME = 1_000_003
"""Two neighbouring words' numbers become that of their pair by it."""


class Bag(nn.Module):
    """The mean of the embeddings of all words and pairs of neighbours, and one hidden layer.

    Joulin et al. 2016 (fastText), arXiv 1607.01759, with a hidden layer, which has the activation.
    """

    WIDTH = 64

    def __init__(self, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.words, self.pairs = (nn.Embedding(vocab_size, self.WIDTH, padding_idx=0) for _ in range(2))
        self.hidden = nn.Linear(self.WIDTH, self.WIDTH)
        self.activation = nn.ReLU()
        self.head = nn.Linear(self.WIDTH, num_classes)

    def forward(self, words: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        first, second = words[:, :-1], words[:, 1:]
        pair = 1 + (first * LARGE_PRIME + second) % (self.pairs.num_embeddings - 1)
        pair = pair.masked_fill(second == 0, 0)
        count = ((words != 0).sum(1) + (pair != 0).sum(1)).clamp(min=1)
        mean = (self.words(words).sum(1) + self.pairs(pair).sum(1)) / count[:, None]
        logits: Tensor = self.head(self.activation(self.hidden(mean)))
        return logits


class TextCNN(nn.Module):
    """Convolutions over three, four and five words, and of each the largest value anywhere in the text.

    Kim 2014, arXiv 1408.5882, with 64 features instead of 100 or 300, embeddings learned from the start, and dropout of
    a half.
    """

    WIDTH, SPANS, DROPOUT = 64, (3, 4, 5), 0.5

    def __init__(self, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, self.WIDTH, padding_idx=0)
        self.spans = nn.ModuleList(nn.Conv1d(self.WIDTH, self.WIDTH, span, padding=span - 1) for span in self.SPANS)
        self.activations = nn.ModuleList(nn.ReLU() for _ in self.SPANS)
        self.dropout = nn.Dropout(self.DROPOUT)
        self.head = nn.Linear(len(self.SPANS) * self.WIDTH, num_classes)

    def forward(self, words: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        x = self.words(words).transpose(1, 2)
        found = []
        for span, activation in zip(self.spans, self.activations, strict=True):
            y = activation(span(x))
            # What begins behind the last word of a text sees nothing of it.
            there = (
                torch.arange(y.shape[2], device=y.device) < (words != 0).sum(1)[:, None] + y.shape[2] - words.shape[1]
            )
            found.append(y.masked_fill(~there[:, None], torch.finfo(y.dtype).min).amax(2))
        logits: Tensor = self.head(self.dropout(torch.cat(found, 1)))
        return logits
