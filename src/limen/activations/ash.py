"""ASH and its variants: thresholds taken from the input's own mean and deviation.

Lee, Yang, Lee, Hwang, "Stochastic Adaptive Activation Function", NeurIPS 2022, arXiv 2210.11672.
Equation 11 of the paper prints the gate with the sign reversed; equations 7 and 10 agree with each other and are
followed here. The published TensorFlow code cannot run (TF1) or takes statistics over the whole batch (TF2).
"""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from limen.activations.base import Activation
from limen.activations.fields import Constant, Param, StatisticsContext
from limen.activations.registry import register
from limen.errors import SpecError
from limen.formula import Context, mean, sigmoid, std, step, where
from limen.kernels import dispatch

PAPER = "Lee et al. 2022, arXiv 2210.11672"


@overload
def percentile_to_z(percentile: float) -> float: ...
@overload
def percentile_to_z(percentile: Tensor) -> Tensor: ...
def percentile_to_z(percentile: float | Tensor) -> float | Tensor:
    """The threshold, in deviations above the mean, that keeps the top ``percentile`` % of normal inputs.

    z = Φ⁻¹(1 − k/100) (arXiv 2210.11672, eq. 4-5). Only for normally distributed inputs is k the fraction kept.

    Args:
        percentile: k in per cent, between 0 and 100; a number, or a floating tensor of any shape.

    Returns:
        z in standard deviations: a float for a number, a tensor of the same shape and type for a tensor, which is not
        checked: outside of 0 to 100 it gives NaN.

    Raises:
        SpecError: for a number that is not between 0 and 100.

    >>> round(percentile_to_z(2.5), 6)
    1.959964
    """
    if isinstance(percentile, Tensor):
        threshold: Tensor = -torch.special.ndtri(percentile / 100)
        return threshold
    if not 0 < percentile < 100:
        raise SpecError(f"percentile={percentile!r} must lie between 0 and 100, both excluded.")
    return float(-torch.special.ndtri(torch.tensor(percentile, dtype=torch.float64, device="cpu") / 100))


@overload
def z_to_percentile(z: float) -> float: ...
@overload
def z_to_percentile(z: Tensor) -> Tensor: ...
def z_to_percentile(z: float | Tensor) -> float | Tensor:
    """The percentage of normal inputs that lie ``z`` deviations or more above their mean: k = 100·(1 − Φ(z)).

    Args:
        z: in standard deviations; a number, or a floating tensor of any shape.

    Returns:
        k in per cent: a float for a number, a tensor of the same shape and type for a tensor.

    >>> z_to_percentile(0.0)
    50.0
    """
    if isinstance(z, Tensor):
        kept: Tensor = 100 * torch.special.ndtr(-z)
        return kept
    return float(100 * torch.special.ndtr(-torch.tensor(z, dtype=torch.float64, device="cpu")))


def _excess(x: Any, z: Any, context: Any) -> Any:
    """How far ``x`` lies above the threshold μ + z·sd of its context."""
    return x - mean(x, context) - z * std(x, context)


@register
class ASH(Activation):
    """Swish with a threshold from the input's own statistics: x·σ(2α(x − μ − z·sd)).

    arXiv 2210.11672, eq. 10. μ and sd are the mean and population deviation over ``context``, taken anew from
    every input, in training and evaluation alike. A sample of one value gives x/2; ∂sd/∂x is 0 where sd = 0.

    Args:
        z_k: threshold in deviations above the mean; learned. 10^-3 as in the authors' code (k = 49.96 %).
        alpha: steepness of the gate; learned. For α → ∞ the hard version (eq. 7).
        context: ``sample`` (the paper: all axes but the batch), ``channel`` (spatial axes), ``token`` (last axis).

    >>> ASH()(torch.tensor([[-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]])).detach()
    tensor([[-0.0133, -0.0473,  0.0000,  0.7304,  1.9048,  2.9799]])
    """

    z_k = Param(1e-3)
    alpha = Param(1.0)
    context = StatisticsContext()
    source = f"{PAPER}, eq. 10"
    elementwise = False

    @staticmethod
    def formula(x: Any, z_k: Any, alpha: Any, context: Context) -> Any:
        """Eq. 10 as x·σ(2αu); x/(1 + exp(−2αu)) has a NaN gradient once the exponential overflows."""
        return x * sigmoid(2 * alpha * _excess(x, z_k, context))

    @property
    def percentile(self) -> Tensor:
        """The percentage of normal inputs kept at the current threshold: float, 1-D, of num_parameters values."""
        return z_to_percentile(self.parameter_values()["z_k"].detach())


@register
class LeakyASH(Activation):
    """ASH that lets a little through below the threshold: x·(λ + (1 − λ)·σ(2α(x − μ − z·sd))).

    Named L-ASH in the ablation of the authors' repository without a formula; this form, with λ = 0.01, is ours.

    >>> LeakyASH(leak=0.1)
    LeakyASH(z_k=0.001, alpha=1, leak=0.1, context='sample')
    """

    z_k = Param(1e-3)
    alpha = Param(1.0)
    leak = Constant(0.01, above=0.0, below=1.0, inclusive=True)
    context = StatisticsContext()
    source = f"{PAPER}, ablation of the authors' repository; formula ours"
    elementwise = False

    @staticmethod
    def formula(x: Any, z_k: Any, alpha: Any, leak: Any, context: Context) -> Any:
        """The gate of eq. 10, raised to start at λ."""
        return x * (leak + (1 - leak) * sigmoid(2 * alpha * _excess(x, z_k, context)))


@register
class FixedASH(Activation):
    """ASH with its percentile fixed, F-ASH-k: x·σ(2α(x − μ − z·sd)) with z = Φ⁻¹(1 − k/100).

    Authors' repository ("k-percentile is fixed rather than trainable"). Whether its α was trained is not known;
    here it is, unless ``learned=False``.

    >>> FixedASH(percentile=10)
    FixedASH(alpha=1, percentile=10, context='sample')
    """

    percentile = Constant(50.0, above=0.0, below=100.0)
    alpha = Param(1.0)
    context = StatisticsContext()
    source = f"{PAPER}, ablation of the authors' repository"
    written = "x*sigmoid(2*alpha*(x - z*std(x) - mean(x))), z = inverse normal CDF of 1 - percentile/100"
    elementwise = False

    @staticmethod
    def formula(x: Any, percentile: float, alpha: Any, context: Context) -> Any:
        """Eq. 10 at the threshold of the percentile."""
        return ASH.formula(x, percentile_to_z(percentile), alpha, context)


@register
class HardASH(Activation):
    """The hard threshold that ASH smooths: x where x ≥ μ + z·sd, else 0, with z = Φ⁻¹(1 − k/100).

    arXiv 2210.11672, eq. 7. The gradient with respect to z is 0 almost everywhere (the paper's Lemma 1), so the
    percentile is a constant.

    >>> HardASH()(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])).tolist()
    [[0.0, 0.0, 0.0, 4.0, 5.0, 6.0]]
    """

    percentile = Constant(50.0, above=0.0, below=100.0)
    context = StatisticsContext()
    source = f"{PAPER}, eq. 7"
    written = "x*step(x - z*std(x) - mean(x)), z = inverse normal CDF of 1 - percentile/100"
    elementwise = False

    @staticmethod
    def formula(x: Any, percentile: float, context: Context) -> Any:
        """Eq. 9: x·H(x − μ − z·sd)."""
        return x * step(_excess(x, percentile_to_z(percentile), context))


@register
class TopPercentile(Activation):
    """Keeps exactly the largest ``percentile`` % of each sample and sets the rest to 0, by selection.

    arXiv 2210.11672, eq. 2-3: of N elements, those from the largest to the ⌊kN/100⌋-th largest. Elements equal to
    the last one kept are kept too. This is what HardASH approximates for normal inputs.

    >>> TopPercentile(50)(torch.tensor([[5.0, -1.0, 0.0, 100.0]])).tolist()
    [[5.0, 0.0, 0.0, 100.0]]
    """

    percentile = Constant(50.0, above=0.0, below=100.0, inclusive=True)
    context = StatisticsContext()
    source = f"{PAPER}, eq. 2-3"
    written = "x if x is among the largest percentile % of its context, else 0"
    plain_only = "it selects the largest elements by sorting"
    elementwise = False
    takes_mask = True

    @staticmethod
    def formula(x: Tensor, percentile: float, context: Context) -> Tensor:
        """Compare with the smallest value that is kept."""
        axes = context.axes(tuple(x.shape))
        if x.numel() == 0:
            return x * 1.0
        others = [axis for axis in range(x.ndim) if axis not in axes]

        def by_sample(values: Tensor) -> Tensor:
            return values.permute(*others, *axes).reshape(*(x.shape[axis] for axis in others), -1)

        samples = by_sample(x.detach())
        if context.mask is not None:
            threshold = _threshold_of(samples, percentile, by_sample(context.mask.expand(x.shape)))
        elif _is_written_down(x):
            threshold = _threshold_of(samples, percentile, torch.ones_like(samples, dtype=torch.bool))
        else:
            threshold = _threshold(samples, percentile)
        for axis in sorted(axes):
            threshold = threshold.unsqueeze(axis)
        result: Tensor = where(x < threshold, 0.0, x)
        return result


ROUNDING = 5e-10
"""Absorbs the rounding of k·N/100, so that 30 % of 10 is 3."""


def _is_written_down(x: Tensor) -> bool:
    """Whether torch may write the program down for inputs of other sizes too; a compiled one is made anew for each."""
    return torch.compiler.is_exporting() if torch.compiler.is_compiling() else not dispatch.is_eager(x)


def _threshold(samples: Tensor, percentile: float) -> Tensor:
    """The smallest value that is kept of each sample; above all of them where none is."""
    kept = int(percentile * samples.shape[-1] / 100 + ROUNDING)
    if kept == 0:
        return torch.full_like(samples[..., 0], torch.inf)
    return samples.topk(kept, dim=-1).values[..., -1]


def _threshold_of(samples: Tensor, percentile: float, mask: Tensor) -> Tensor:
    """The same of what a mask lets count; how many are kept is computed, so a program holds for samples of any size."""
    kept = (percentile * mask.sum(-1, keepdim=True, dtype=torch.float64) / 100 + ROUNDING).long()
    ordered = torch.where(mask, samples, -torch.inf).sort(dim=-1, descending=True).values
    last = ordered.gather(-1, (kept - 1).clamp(min=0))
    return torch.where(kept > 0, last, torch.inf).squeeze(-1)
