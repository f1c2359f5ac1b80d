"""A transformer's block with its norms before its two parts, and every activation a module.

Vaswani et al. 2017, arXiv 1706.03762, in the form of GPT-2 (Radford et al. 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.beside.glu import GLU

DEVIATION = 0.02
"""Of the weights at the start, as in GPT-2."""
HEAD, LARGE_HEAD, LARGE = 32, 64, 512
"""Features of a head, and of one where the network is so wide or wider."""


def heads_of(width: int) -> int:
    """How many heads share a width: of 32 features each, of 64 from a width of 512 on, or as near to it as divides.

    >>> heads_of(64), heads_of(128), heads_of(768), heads_of(100), heads_of(8)
    (2, 4, 12, 2, 1)
    """
    count = max(1, width // (LARGE_HEAD if width >= LARGE else HEAD))
    return next(heads for heads in range(count, 0, -1) if width % heads == 0)


class SelfAttention(nn.Module):
    """Attention of several heads among the places of a sequence; to those before alone where it is causal."""

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.is_causal = heads_of(width), causal
        self.input = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        queries, keys, values = self.input(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(queries, keys, values, is_causal=self.is_causal)
        attended: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return attended


class FeedForward(nn.Module):
    """Two linear layers, four times as wide between them, around an activation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, 4 * width)
        self.activation = nn.ReLU()
        self.output = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        y: Tensor = self.output(self.activation(self.input(x)))
        return y


class GatedFeedForward(nn.Module):
    """The same with a gate: activation(V·x) ⊙ W·x, both in one pass. Shazeer 2020, arXiv 2002.05202.

    Two thirds as wide, to a multiple of 8, so that it has about as many weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 8 * max(1, round(width / 3))
        self.input = nn.Linear(width, 2 * inner)
        self.gate = GLU(nn.ReLU(), packed=True)
        self.output = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        y: Tensor = self.output(self.gate(self.input(x)))
        return y


class Block(nn.Module):
    """x + attention(norm(x)), and of that y + feedforward(norm(y))."""

    def __init__(self, width: int, *, causal: bool, gated: bool = False) -> None:
        super().__init__()
        self.before_attention, self.before_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, causal=causal)
        self.feed: nn.Module = GatedFeedForward(width) if gated else FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same."""
        x = x + self.attention(self.before_attention(x))
        y: Tensor = x + self.feed(self.before_feed(x))
        return y


def start(network: nn.Module, layers: int) -> None:
    """Give a network of blocks its first weights: normal, and what is added up in ``2·layers`` places smaller."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=DEVIATION)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for name, weight in network.named_parameters():
        if name.endswith("output.weight"):
            with torch.no_grad():
                weight.mul_((2 * layers) ** -0.5)
