"""Trainable activations related to the four papers' own."""

from __future__ import annotations

from typing import Any

from limen.activations.base import Activation
from limen.activations.fields import Param
from limen.activations.registry import register
from limen.formula import sigmoid


@register("acon")
class ACON(Activation):
    """ACON-C, a learned smooth maximum of p₁x and p₂x: (p₁ − p₂)·x·σ(β(p₁ − p₂)x) + p₂x.

    Ma et al. 2021, arXiv 2009.04759. It starts as SiLU (p₁=1, p₂=0, β=1); the authors' code draws p₁ and p₂
    from N(0, 1), which makes some channels nearly linear or turns their sign.

    >>> ACON(num_parameters=16).p1.shape
    torch.Size([16])
    """

    p1 = Param(1.0)
    p2 = Param(0.0)
    beta = Param(1.0)
    source = "Ma et al. 2021, arXiv 2009.04759"

    @staticmethod
    def formula(x: Any, p1: Any, p2: Any, beta: Any) -> Any:
        """The smooth maximum, with the gate of Swish."""
        rest = (p1 - p2) * x
        return rest * sigmoid(beta * rest) + p2 * x
