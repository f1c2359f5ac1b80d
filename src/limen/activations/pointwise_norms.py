"""Functions that stand where a normalisation stood: each value by itself, with a scale and a shift for each channel."""

from __future__ import annotations

from typing import Any

from limen.activations.base import Activation
from limen.activations.fields import Param
from limen.activations.registry import register
from limen.formula import erf, tanh


@register("dyt")
class DyT(Activation):
    """γ·tanh(αx) + β: α is one number, γ and β are one a channel with ``num_parameters``.

    γ and β are called ``weight`` and ``bias``, as in the norms whose place it takes; :func:`limen.swap_norms_` puts it
    there.

    >>> DyT(num_parameters=8, channel_dim=-1).alpha.shape
    torch.Size([1])
    """

    alpha = Param(0.5, shared=True)
    weight = Param(1.0)
    bias = Param(0.0)
    source = "Zhu et al. 2025, arXiv 2503.10622"

    @staticmethod
    def formula(x: Any, alpha: Any, weight: Any, bias: Any) -> Any:
        """A bounded curve, scaled and shifted."""
        return weight * tanh(alpha * x) + bias


@register("derf")
class Derf(Activation):
    """γ·erf(αx + s) + β: α and s are one number each, γ and β are one a channel with ``num_parameters``.

    >>> Derf(num_parameters=8, channel_dim=-1).weight.shape
    torch.Size([8])
    """

    alpha = Param(0.5, shared=True)
    s = Param(0.0, shared=True)
    weight = Param(1.0)
    bias = Param(0.0)
    source = "Chen et al. 2025, arXiv 2512.10938"

    @staticmethod
    def formula(x: Any, alpha: Any, s: Any, weight: Any, bias: Any) -> Any:
        """A bounded curve, scaled and shifted."""
        return weight * erf(alpha * x + s) + bias
