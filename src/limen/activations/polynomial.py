"""Compositions of polynomials: of a ReLU, and with each power divided by its root mean square in a row."""

from __future__ import annotations

from typing import Any

from limen.activations.base import Activation
from limen.activations.classic import ReLU
from limen.activations.fields import Constant, Param, StatisticsContext
from limen.activations.registry import register
from limen.formula import Context, absolute, over_rms

PAPER = "Zhuo et al. 2024, arXiv 2411.03884"
THIRD = 1 / 3
OF_POWERS = "its root mean squares are of powers of the input, and kernels have its mean and deviation alone"


@register("poly_relu")
class PolyReLU(Activation):
    """a₁·r + a₂·r² + a₃·r³ + b with r = max(x, 0): a polynomial of a ReLU, all of it learned.

    >>> import torch
    >>> PolyReLU()(torch.tensor([-1.0, 3.0]))
    tensor([ 0., 13.], grad_fn=...)
    """

    a1 = Param(THIRD)
    a2 = Param(THIRD)
    a3 = Param(THIRD)
    b = Param(0.0)
    source = PAPER

    @staticmethod
    def formula(x: Any, a1: Any, a2: Any, a3: Any, b: Any) -> Any:
        """By Horner's scheme."""
        r = ReLU.formula(x)
        return r * (a1 + r * (a2 + r * a3)) + b


class _OfRows(Activation):
    """What divides powers by their root mean squares, by default those of the last axis."""

    context = StatisticsContext("token")
    plain_only = OF_POWERS
    elementwise = False
    takes_mask = True


@register("poly_norm")
class PolyNorm(_OfRows):
    """a₁·x/rms(x) + a₂·x²/rms(x²) + a₃·x³/rms(x³) + b, with rms(u) = √(mean of u² + ε) over the last axis.

    Made for the hidden layer of a transformer, whose features lie along the last axis. As it has no compiled kernel,
    it runs on torch's operators.

    Args:
        a1, a2, a3, b: of the three powers and the constant; learned.
        eps: ε, added to each mean.
        context: over which axes: ``token`` (the paper: the last), ``sample`` or ``channel``.

    >>> import torch
    >>> PolyNorm()(torch.tensor([[1.0, -7.0]]))
    tensor([[ 0.0777, -0.4668]], grad_fn=...)
    """

    a1 = Param(THIRD)
    a2 = Param(THIRD)
    a3 = Param(THIRD)
    b = Param(0.0)
    eps = Constant(1e-6, above=0.0)
    source = f"{PAPER}; ε as in the authors' code, BryceZhuo/PolyCom"

    @staticmethod
    def formula(x: Any, a1: Any, a2: Any, a3: Any, b: Any, eps: Any, context: Context) -> Any:
        """Three normalised powers and a constant."""
        powers = (over_rms(x, power, context, eps) for power in (1, 2, 3))
        return sum(a * power for a, power in zip((a1, a2, a3), powers, strict=True)) + b


@register("gated_poly_norm")
class GatedPolyNorm(_OfRows):
    """abs(α₁)·x/rms(x) + abs(α₂)·x²/rms(x²), with rms(u) = √(mean of u² + ε) over the last axis: a gate for SiLU.

    Of the second order, and published as code alone. :class:`limen.GLU` makes the gated layer of it.

    Args:
        alpha_1, alpha_2: of the two powers; learned, and their sizes are what counts.
        eps: ε, added to each mean.
        context: over which axes: ``token`` (as published: the last), ``sample`` or ``channel``.

    >>> import torch
    >>> GatedPolyNorm()(torch.tensor([[1.0, -7.0]]))
    tensor([[0.0458, 0.0028]], grad_fn=...)
    """

    alpha_1 = Param(0.2)
    alpha_2 = Param(0.2)
    eps = Constant(1e-6, above=0.0)
    source = "FFGGSSJJ/Megatron-LM-MoE, megatron/core/activations.py"

    @staticmethod
    def formula(x: Any, alpha_1: Any, alpha_2: Any, eps: Any, context: Context) -> Any:
        """Two normalised powers."""
        line, parabola = (over_rms(x, power, context, eps) for power in (1, 2))
        return absolute(alpha_1) * line + absolute(alpha_2) * parabola
