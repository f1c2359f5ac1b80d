"""A decoder of any size, as its name says: ``gpt-4x128`` has four blocks of width 128, ``gpt-4x128-glu`` gated ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limen.lab.networks.transformer import Block, start


class GPT(nn.Module):
    """GPT-2's form: learned positions, norms before each part, the head's weights the embedding's.

    Radford et al. 2019, Language models are unsupervised multitask learners. There is no dropout, and each block has a
    ReLU where GPT-2 has a GELU, as every network of the lab.
    """

    def __init__(self, vocabulary: int, window: int, layers: int, width: int, *, gated: bool = False) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(vocabulary, width), nn.Embedding(window, width)
        self.blocks = nn.Sequential(*(Block(width, causal=True, gated=gated) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        start(self, layers)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token, (N, T, vocabulary), from tokens (N, T)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.places(places)
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits
