"""The baselines: the activations that adaptive ones are compared with.

At 0 the functions with a kink take the slope of their negative side, as torch does.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from limen.activations.base import Activation
from limen.activations.fields import ChannelAxis, Choice, Constant, Count, Noise, Param
from limen.activations.registry import register
from limen.errors import ShapeError
from limen.formula import erf, expm1, maximum, minimum, sigmoid, softplus, tanh, where


@register("relu")
class ReLU(Activation):
    """max(x, 0); NaN stays NaN.

    >>> import torch
    >>> ReLU()(torch.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    source = "Nair & Hinton 2010"

    @staticmethod
    def formula(x: Any) -> Any:
        """0 up to and at 0, x above."""
        return where(x <= 0, 0.0, x)


@register("leaky_relu")
class LeakyReLU(Activation):
    """x for x > 0, ``negative_slope``·x for x ≤ 0.

    >>> LeakyReLU(0.1)
    LeakyReLU(negative_slope=0.1)
    """

    negative_slope = Constant(0.01)
    source = "Maas et al. 2013"

    @staticmethod
    def formula(x: Any, negative_slope: Any) -> Any:
        """Two lines."""
        return where(x > 0, x, negative_slope * x)


@register("prelu")
class PReLU(Activation):
    """x for x > 0, ``weight``·x for x ≤ 0, with the slope learned.

    The parameter is called ``weight``, as in torch, so that state dicts of ``torch.nn.PReLU`` load.

    >>> PReLU(num_parameters=3).weight.shape
    torch.Size([3])
    """

    weight = Param(0.25)
    source = "He et al. 2015, arXiv 1502.01852"

    @staticmethod
    def formula(x: Any, weight: Any) -> Any:
        """Two lines."""
        return LeakyReLU.formula(x, weight)


@register("rrelu")
class RReLU(Activation):
    """x for x > 0, r·x for x ≤ 0; in training r ~ U(lower, upper) for each element, in evaluation their mean.

    >>> import torch
    >>> RReLU().eval()(torch.tensor([-48.0])).tolist()
    [-11.0]
    """

    lower = Constant(1 / 8)
    upper = Constant(1 / 3)
    noise = Noise()
    source = "Xu et al. 2015, arXiv 1505.00853"

    @staticmethod
    def formula(x: Any, lower: Any, upper: Any, noise: Any) -> Any:
        """Two lines, the left one with a slope drawn for each element."""
        return LeakyReLU.formula(x, lower + (upper - lower) * noise)


@register
class Softplus(Activation):
    """ln(1 + e^(βx)) / β, a smooth maximum of x and 0.

    >>> Softplus(beta=2.0)
    Softplus(beta=2)
    """

    beta = Constant(1.0, above=0.0)
    source = "Dugas et al. 2001"

    @staticmethod
    def formula(x: Any, beta: Any) -> Any:
        """Smooth maximum of x and 0."""
        return softplus(x, beta)


@register("elu")
class ELU(Activation):
    """x for x > 0, α(e^x − 1) for x ≤ 0.

    >>> ELU(alpha=0.5)
    ELU(alpha=0.5)
    """

    alpha = Constant(1.0)
    source = "Clevert et al. 2015, arXiv 1511.07289"

    @staticmethod
    def formula(x: Any, alpha: Any) -> Any:
        """The exponential sees only x ≤ 0, so it cannot overflow in the branch not taken."""
        return where(x > 0, x, alpha * expm1(minimum(x, 0)))


@register("selu")
class SELU(Activation):
    """λ·ELU(x; α) with the constants that keep mean 0 and variance 1.

    >>> SELU()
    SELU()
    """

    source = "Klambauer et al. 2017, arXiv 1706.02515"
    ALPHA = 1.6732632423543772848170429916717
    SCALE = 1.0507009873554804934193349852946

    @staticmethod
    def formula(x: Any) -> Any:
        """A scaled ELU."""
        return SELU.SCALE * ELU.formula(x, SELU.ALPHA)


@register("gelu")
class GELU(Activation):
    """x·Φ(x), Φ being the standard normal distribution function, or its tanh approximation.

    On torch's operators the slope of the latter is NaN from 2·10^19 (float64: 10^154), where x² overflows,
    as torch's own is.

    >>> GELU(approximate="tanh")
    GELU(approximate='tanh')
    """

    approximate = Choice("none", ("none", "tanh"))
    source = "Hendrycks & Gimpel 2016, arXiv 1606.08415"

    @staticmethod
    def formula(x: Any, approximate: str) -> Any:
        """½x(1 + erf(x/√2)), or with tanh(√(2/π)(x + 0.044715x³)) in place of erf."""
        if approximate == "tanh":
            return x * ((1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2)
        return x * ((1 + erf(x * math.sqrt(0.5))) / 2)


@register
class Swish(Activation):
    """x·σ(βx) with β learned (``learned=False``: fixed).

    >>> Swish(beta=2.0, learned=False)
    Swish(beta=2)
    """

    beta = Param(1.0)
    source = "Ramachandran et al. 2017, arXiv 1710.05941"

    @staticmethod
    def formula(x: Any, beta: Any) -> Any:
        """A gate on x."""
        return x * sigmoid(beta * x)


@register("silu")
class SiLU(Activation):
    """x·σ(x), which is Swish at β = 1.

    >>> SiLU()
    SiLU()
    """

    source = "Elfwing et al. 2017, arXiv 1702.03118"

    @staticmethod
    def formula(x: Any) -> Any:
        """Swish at β = 1."""
        return Swish.formula(x, 1)


@register
class Mish(Activation):
    """x·tanh(softplus(x)), with softplus(x) = ln(1 + e^x).

    >>> Mish()
    Mish()
    """

    source = "Misra 2019, arXiv 1908.08681"

    @staticmethod
    def formula(x: Any) -> Any:
        """A gate on x."""
        return x * tanh(softplus(x))


@register
class Maxout(Activation):
    """The maximum over groups of ``pieces`` neighbouring channels.

    (N, C, …) becomes (N, C / pieces, …), where C is a multiple of ``pieces``; so it takes its place in a network by
    design, not by a swap.

    >>> import torch
    >>> Maxout(2)(torch.tensor([[1.0, 5.0, -2.0, -3.0]])).tolist()
    [[5.0, -2.0]]
    """

    pieces = Count(2, least=2)
    channel = ChannelAxis()
    source = "Goodfellow et al. 2013, arXiv 1302.4389"
    written = "max over each group of `pieces` channels"
    plain_only = "it changes the shape of its input"
    elementwise = False
    keeps_shape = False

    @staticmethod
    def formula(x: Tensor, pieces: int, channel: int) -> Tensor:
        """Group the channels and take each group's maximum."""
        if not -x.ndim <= channel < x.ndim or x.shape[channel] % pieces:
            raise ShapeError(
                f"Maxout(pieces={pieces}) needs a number of channels divisible by {pieces} in dimension {channel}, "
                f"and the input has shape {tuple(x.shape)}."
            )
        axis = channel % x.ndim
        groups = x.shape[axis] // pieces
        return x.reshape(*x.shape[:axis], groups, pieces, *x.shape[axis + 1 :]).amax(axis + 1)


@register
class Tanh(Activation):
    """(e^x − e^−x) / (e^x + e^−x).

    >>> Tanh()
    Tanh()
    """

    source = "LeCun et al. 1998 (Efficient BackProp), §4.4"

    @staticmethod
    def formula(x: Any) -> Any:
        """The hyperbolic tangent."""
        return tanh(x)


@register
class Sigmoid(Activation):
    """1 / (1 + e^−x).

    >>> Sigmoid()
    Sigmoid()
    """

    source = "Rumelhart, Hinton & Williams 1986"

    @staticmethod
    def formula(x: Any) -> Any:
        """The logistic function."""
        return sigmoid(x)


@register("relu6")
class ReLU6(Activation):
    """min(max(x, 0), 6).

    >>> import torch
    >>> ReLU6()(torch.tensor([-1.0, 8.0])).tolist()
    [0.0, 6.0]
    """

    source = "Krizhevsky 2010 (Convolutional Deep Belief Networks on CIFAR-10)"

    @staticmethod
    def formula(x: Any) -> Any:
        """A line between two levels, on both ends of which the slope is 0, as torch's is."""
        return where(x <= 0, 0.0, where(x >= 6, 6.0, x))


@register
class Hardswish(Activation):
    """x·min(max(x + 3, 0), 6)/6, Swish of straight pieces.

    >>> import torch
    >>> Hardswish()(torch.tensor([-4.0, 3.0])).tolist()
    [0.0, 3.0]
    """

    source = "Howard et al. 2019 (MobileNetV3), arXiv 1905.02244"

    @staticmethod
    def formula(x: Any) -> Any:
        """A parabola between 0 and the line; at its ends the slopes are theirs, as torch's are."""
        between = minimum(maximum(x, -3), 3)
        return where(x <= -3, 0.0, where(x < 3, between * (between + 3) / 6, x))
