"""What the tests by property share: the activations they run over, and inputs that suit all of them."""

from __future__ import annotations

import torch

import limen

ALL = limen.names()
KEEPING_SHAPE = tuple(name for name in ALL if limen.create(name).keeps_shape)
ELEMENTWISE = tuple(name for name in KEEPING_SHAPE if limen.create(name).elementwise)
OF_SAMPLES = tuple(name for name in KEEPING_SHAPE if name not in ELEMENTWISE)
LEARNING = tuple(name for name in ALL if list(limen.create(name).parameters()))
JUMPING = ("hard_ash", "top_percentile")
"""Those with jumps, where a numerical derivative can land on the wrong side."""

BUILT_IN = {
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "prelu": torch.nn.PReLU(),
    "rrelu": torch.nn.RReLU().eval(),
    "softplus": torch.nn.Softplus(),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "gelu": torch.nn.GELU(),
    "silu": torch.nn.SiLU(),
    "swish": torch.nn.SiLU(),
    "acon": torch.nn.SiLU(),
    "mish": torch.nn.Mish(),
}
"""The torch module that each baseline equals at its initial values."""


def activation(name: str, **named: object) -> limen.Activation:
    """The activation in evaluation mode, where none is random."""
    return limen.create(name, **named).eval()


def sample_input(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Normal values, none so near to 0 that a numerical derivative would cross a kink there."""
    x = torch.randn(*shape, dtype=torch.float64)
    return torch.where(x.abs() < 1e-2, x + 0.1, x).to(dtype)
