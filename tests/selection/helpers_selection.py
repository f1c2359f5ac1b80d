"""Networks of mixtures with chosen weights, for the tests of selection."""

from __future__ import annotations

from typing import Any

import torch
from helpers import KEEPING_SHAPE
from torch import nn

import limen

PAPER = ("relu", "elu", "leaky_relu", "prelu", "rrelu", "silu", "mish")
MIXABLE = tuple(name for name in KEEPING_SHAPE if name != "adact")
BITS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16, torch.float16: torch.int16}


def network(candidates: tuple[str, ...] = PAPER, **named: Any) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    limen.swap_(model, lambda: limen.AdAct(candidates, **named))
    return model


def with_logits(model: nn.Module, *logits: list[float]) -> nn.Module:
    mixtures = [module for module in model.modules() if isinstance(module, limen.AdAct)]
    with torch.no_grad():
        for mixture, values in zip(mixtures, logits, strict=True):
            mixture.logits.copy_(torch.tensor(values))
    return model


def alone(candidates: tuple[str, ...], winner: str) -> list[float]:
    return [1e4 if name == winner else -1e4 for name in candidates]


def edges(dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(0)
    special = torch.tensor([0.0, -0.0, 30.0, -30.0, 200.0, -200.0, 1e-6, -1e-6])
    return torch.cat([3 * torch.randn(4088), special]).to(dtype).reshape(8, 512)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(BITS[a.dtype]), b.view(BITS[b.dtype]))


def all_on(model: nn.Module, winner: str) -> nn.Module:
    for module in model.modules():
        if isinstance(module, limen.AdAct):
            with torch.no_grad():
                module.logits.copy_(torch.tensor(alone(module.names, winner)))
    return model
