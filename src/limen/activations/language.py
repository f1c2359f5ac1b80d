"""Activations of language models' feed-forward layers, and those that searches and later papers found.

Where a gate saturates faster than its exponential overflows, the function is what it tends to beyond |x| = 10, where
float64 has the same value and slope to the last digit.
"""

from __future__ import annotations

import math
from typing import Any

from limen.activations.base import Activation
from limen.activations.classic import GELU, LeakyReLU, ReLU, Swish
from limen.activations.fields import Constant, Param
from limen.activations.registry import register
from limen.formula import absolute, erf, exp, expm1, maximum, minimum, sin, softplus, tanh, where

SATURATED = 10.0
"""exp(-exp(10)) is 0, and tanh(exp(10)) is 1, in float64 as well."""


@register("relu2")
class ReLU2(Activation):
    """max(x, 0)², the squared ReLU.

    >>> import torch
    >>> ReLU2()(torch.tensor([-1.0, 3.0])).tolist()
    [0.0, 9.0]
    """

    source = "So et al. 2021 (Primer), arXiv 2109.08668"

    @staticmethod
    def formula(x: Any) -> Any:
        """0 up to and at 0, a parabola above."""
        positive = ReLU.formula(x)
        return positive * positive


@register("leaky_relu2")
class LeakyReLU2(Activation):
    """x² for x > 0, (``negative_slope``·x)² for x ≤ 0: the square of a Leaky ReLU, which falls left of 0.

    Fixed at ½, as in its source; ``learned=True`` learns the slope.

    >>> import torch
    >>> LeakyReLU2()(torch.tensor([-2.0, 3.0])).tolist()
    [1.0, 9.0]
    """

    negative_slope = Param(0.5, learned=False)
    source = "KellerJordan/modded-nanogpt, pull request 249; openai/parameter-golf, issue 549"

    @staticmethod
    def formula(x: Any, negative_slope: Any) -> Any:
        """Two parabolas."""
        line = LeakyReLU.formula(x, negative_slope)
        return line * line


@register("xielu")
class XIELU(Activation):
    """sp(ρₚ)·x² + βx for x > 0, (β + sp(ρₙ))·(e^x − 1 − x) + βx for x ≤ 0; sp is softplus, β is fixed.

    The integral of a trainable ELU: its slope is linear on the right and an ELU on the left. ``alpha_p`` and
    ``alpha_n`` hold ρₚ and ρₙ, before the softplus, as the state dicts of transformers' module do; the curvatures
    start at 0.8.

    >>> import torch
    >>> XIELU()(torch.tensor([-1.0, 1.0]))
    tensor([-0.2057,  1.3000], grad_fn=...)
    """

    alpha_p = Param(math.log(math.expm1(0.8)))
    alpha_n = Param(math.log(math.expm1(0.3)))
    beta = Constant(0.5)
    source = "Huang & Schlag 2024, arXiv 2411.13010"

    @staticmethod
    def formula(x: Any, alpha_p: Any, alpha_n: Any, beta: float) -> Any:
        """The lines of the left branch are taken together, or they would be ∞ − ∞ at −∞."""
        positive, beyond = maximum(x, 0), softplus(alpha_n)
        left = (beta + beyond) * expm1(minimum(x, 0)) - beyond * x
        return where(x > 0, positive * (softplus(alpha_p) * positive + beta), left)


@register("golu")
class GoLU(Activation):
    """x·e^(−e^(−x)), gated by Gompertz' function.

    >>> import torch
    >>> GoLU()(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6922])
    """

    source = "Das et al. 2025, arXiv 2502.03654"

    @staticmethod
    def formula(x: Any) -> Any:
        """A gate on x, which is 0 long before its exponent would leave the type."""
        inner = maximum(x, -SATURATED)
        return where(x < -SATURATED, 0.0, inner * exp(-exp(-inner)))


@register("telu")
class TeLU(Activation):
    """x·tanh(e^x), nearly linear above 0.

    >>> import torch
    >>> TeLU()(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.9913])
    """

    source = "Fernandez & Mali 2024, arXiv 2402.02790"

    @staticmethod
    def formula(x: Any) -> Any:
        """A gate on x, which is 1 long before its exponent would leave the type."""
        inner = minimum(x, SATURATED)
        return where(x > SATURATED, x, inner * tanh(exp(inner)))


@register("gelusine")
class GELUSine(Activation):
    """GELU(x) + c·sin(x), with c = 0.1 fixed; ``learned=True`` learns it.

    >>> import torch
    >>> GELUSine()(torch.tensor([1.0]))
    tensor([0.9255])
    """

    c = Param(0.1, learned=False)
    source = "Vitvitskyi et al. 2026, arXiv 2602.05688"

    @staticmethod
    def formula(x: Any, c: Any) -> Any:
        """A wave on GELU."""
        return GELU.formula(x, "none") + c * sin(x)


@register("quick_gelu")
class QuickGELU(Activation):
    """x·σ(1.702x), the approximation of GELU that CLIP uses.

    >>> import torch
    >>> QuickGELU()(torch.tensor([1.0]))
    tensor([0.8458])
    """

    source = "Hendrycks & Gimpel 2016, arXiv 1606.08415, §2"

    @staticmethod
    def formula(x: Any) -> Any:
        """Swish at β = 1.702."""
        return Swish.formula(x, 1.702)


@register("laplace")
class Laplace(Activation):
    """½(1 + erf((x − μ)/(σ√2))), with μ = √½ and σ = 1/√(4π): the attention function of Mega, near to a squared ReLU.

    >>> import torch
    >>> Laplace()(torch.tensor([0.0, 2.0]))
    tensor([0.0061, 1.0000])
    """

    mu = Constant(math.sqrt(0.5))
    sigma = Constant(math.sqrt(0.25 / math.pi), above=0.0)
    source = "Ma et al. 2022 (Mega), arXiv 2209.10655, §3.2"

    @staticmethod
    def formula(x: Any, mu: float, sigma: float) -> Any:
        """The distribution function of a normal variable."""
        return (1 + erf((x - mu) * (math.sqrt(0.5) / sigma))) / 2


@register("snake")
class Snake(Activation):
    """x + sin²(αx)/α, with α learned; x at α = 0, which is its limit.

    >>> import torch
    >>> Snake(alpha=2.0)(torch.tensor([1.0]))
    tensor([1.4134], grad_fn=...)
    """

    alpha = Param(1.0)
    source = "Ziyin et al. 2020, arXiv 2006.08195"

    @staticmethod
    def formula(x: Any, alpha: Any) -> Any:
        """A wave on a line; divided by what is not 0 where the wave is."""
        wave = sin(alpha * x)
        return x + wave * wave / where(absolute(alpha) > 0, alpha, 1.0)
