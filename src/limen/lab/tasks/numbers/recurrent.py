"""Recurrent networks written as explicit cells, so that their activation is a module that can be replaced.

torch's own LSTM and GRU are fused: no activation inside them can be reached. Here a cell has one activation, used where
the textbook has tanh; the gates of the LSTM stay sigmoids, because a gate weighs and does not activate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RNN(nn.Module):
    """An Elman network: h ← f(W·x + U·h + b), and a linear layer on the last h. Elman 1990, Cognitive Science 14.

    U starts as the identity, with which rectified units remember over many steps (Le et al. 2015, arXiv 1504.00941);
    scaled by 0.9, because a bound that tanh would give is missing.
    """

    WIDTH = 32

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.input = nn.Linear(in_features, self.WIDTH)
        self.recurrent = nn.Linear(self.WIDTH, self.WIDTH, bias=False)
        self.activation = nn.ReLU()
        self.head = nn.Linear(self.WIDTH, out_features)
        with torch.no_grad():
            self.recurrent.weight.copy_(0.9 * torch.eye(self.WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Predictions (N, out_features) from sequences (N, T, in_features)."""
        driven = self.input(x)
        state = x.new_zeros(len(x), self.WIDTH)
        for step in range(x.shape[1]):
            state = self.activation(driven[:, step] + self.recurrent(state))
        forecast: Tensor = self.head(state)
        return forecast


class LSTM(nn.Module):
    """Long short-term memory: c ← σ(f)·c + σ(i)·a(g), h ← σ(o)·b(c), a linear layer on the last h.

    Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000, whose bias starts at 1. The activations a
    and b stand where the papers have tanh.
    """

    WIDTH = 32

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.input = nn.Linear(in_features, 4 * self.WIDTH)
        self.recurrent = nn.Linear(self.WIDTH, 4 * self.WIDTH, bias=False)
        self.gate = nn.Sigmoid()
        self.candidate, self.output = nn.ReLU(), nn.ReLU()
        self.head = nn.Linear(self.WIDTH, out_features)
        with torch.no_grad():
            self.input.bias[self.WIDTH : 2 * self.WIDTH] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Predictions (N, out_features) from sequences (N, T, in_features)."""
        driven = self.input(x)
        hidden = memory = x.new_zeros(len(x), self.WIDTH)
        for step in range(x.shape[1]):
            parts = driven[:, step] + self.recurrent(hidden)
            gates, new = parts[:, : 3 * self.WIDTH], parts[:, 3 * self.WIDTH :]
            enter, forget, leave = self.gate(gates).chunk(3, dim=1)
            memory = forget * memory + enter * self.candidate(new)
            hidden = leave * self.output(memory)
        forecast: Tensor = self.head(hidden)
        return forecast
