"""A small network and its inputs, for the tests of looking into one."""

from __future__ import annotations

import torch
from torch import nn

import limen

F64 = torch.float64


def network(activation: str = "asau") -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(108, 5), nn.ReLU(),
        nn.Linear(5, 2),
    )  # fmt: skip
    limen.swap_(model, activation)
    return model


IMAGES = torch.randn(16, 2, 8, 8, generator=torch.Generator().manual_seed(1))
