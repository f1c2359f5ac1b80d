"""A recurrent language model, its cells written out so that their activations can be replaced."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LSTMCell(nn.Module):
    """A layer of long short-term memory: c ← σ(f)·c + σ(i)·a(g), h ← σ(o)·b(c).

    Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000, whose bias starts at 1. The activations a
    and b stand where the papers have tanh; the gates stay sigmoids.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.input = nn.Linear(in_features, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        self.gate = nn.Sigmoid()
        self.candidate, self.output = nn.ReLU(), nn.ReLU()
        with torch.no_grad():
            self.input.bias[width : 2 * width] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """What is given out after every step, (N, T, width)."""
        driven = self.input(x).unbind(1)  # split once, or every step's gradient would be as large as the sequence
        hidden = memory = x.new_zeros(len(x), self.width)
        given = []
        for step in driven:
            parts = step + self.recurrent(hidden)
            gates, new = parts[:, : 3 * self.width], parts[:, 3 * self.width :]
            enter, forget, leave = self.gate(gates).chunk(3, dim=1)
            memory = forget * memory + enter * self.candidate(new)
            hidden = leave * self.output(memory)
            given.append(hidden)
        return torch.stack(given, 1)


class LSTMLanguageModel(nn.Module):
    """An embedding and one layer of long short-term memory of width 128, and a linear layer on every step's output."""

    WIDTH = 128

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, self.WIDTH)
        self.cell = LSTMCell(self.WIDTH, self.WIDTH)
        self.head = nn.Linear(self.WIDTH, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token, (N, T, vocabulary), from tokens (N, T)."""
        logits: Tensor = self.head(self.cell(self.embedding(tokens)))
        return logits
