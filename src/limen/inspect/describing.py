"""What every activation of a model receives and gives, in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations import percentile_to_z, z_to_percentile
from limen.activations.base import Activation
from limen.formula import Context, mean, std
from limen.inspect.binning import thinned
from limen.inspect.sites import evaluating, learned_parameters, passing

NEAR_ZERO = 1e-3
"""An output is near zero below this part of the input's deviation."""
FLAT = 0.01
"""A slope is flat below this."""
MOST_SAMPLES = 64
"""Samples whose own distance from the normal is measured."""


@dataclass(frozen=True)
class SiteStatistics:
    """One site over one batch, all its calls together, in numbers.

    >>> import limen
    >>> (site,) = statistics(nn.Sequential(limen.ASH()), torch.tensor([[-1.0, 1.0, -2.0, 2.0]]))
    >>> site.path, site.values, round(site.kept)
    ('0', 4, 50)
    """

    path: str
    activation: str
    """The module as printed."""
    values: int
    mean: float
    deviation: float
    """Of the population (divisor N), as ASH takes it."""
    skewness: float
    """0 for a normal distribution."""
    kurtosis: float
    """Excess kurtosis: 0 for a normal distribution."""
    normal_distance: float
    """Kolmogorov distance of all inputs from the normal distribution of their mean and deviation: 0 to 1."""
    sample_distance: float
    """The same for each sample by itself, the mean over samples; of N values a normal sample has about 0.6/√N."""
    output_zero: float
    """Part of the outputs below a thousandth of the input's deviation, in absolute value."""
    flat: float
    """Part of the inputs at which the slope is below 0.01 in absolute value: no gradient passes there."""
    z: float
    """ASH's threshold in deviations above the mean, the mean over channels; NaN for other activations."""
    percentile: float
    """The percentage of normal inputs above that threshold."""
    kept: float
    """The percentage of these inputs above it."""
    parameters: dict[str, float]
    """Learned parameters, the mean over channels; of a mixture its weights, too."""

    def as_dict(self) -> dict[str, Any]:
        """The flat form, plain data.

        >>> import limen
        >>> (site,) = statistics(nn.Sequential(limen.ReLU()), torch.tensor([[-1.0, 1.0]]))
        >>> site.as_dict()["activation"]
        'ReLU()'
        """
        return asdict(self)


def statistics(model: nn.Module, batch: Any) -> tuple[SiteStatistics, ...]:
    """Describe what each activation site of a model receives and gives, in the order of the modules.

    The model runs once, in evaluation mode, and is left as it was.

    Args:
        model: any model; limen's and torch's activation modules are its sites.
        batch: a tensor, a tuple or list that begins with one, or keyword arguments of the model; of the shapes and
            types that it takes.

    Returns:
        One description a site, of Python's own numbers.

    Raises:
        SampleError: if no activation module is called.

    >>> import limen
    >>> (site,) = statistics(nn.Sequential(limen.ReLU()), torch.tensor([[-1.0, 1.0, -2.0, 2.0]]))
    >>> site.mean, site.output_zero, site.flat
    (0.0, 0.5, 0.5)
    """
    found = passing(model, batch)
    with evaluating(model):
        return tuple(_described(path, site, calls) for path, site, calls in found)


def _described(path: str, site: nn.Module, calls: Sequence[tuple[Tensor, Tensor]]) -> SiteStatistics:
    inputs = [x for x, _ in calls]
    x = torch.cat([thinned(one) for one in inputs])
    y = torch.cat([thinned(output) for _, output in calls])
    centred = x - x.mean()
    deviation = float(centred.square().mean().sqrt())
    standard = centred / deviation if deviation else centred
    thresholds = [_threshold(site, one) for one in inputs]
    z, percentile, kept = _mean_of(thresholds)
    return SiteStatistics(
        path=path,
        activation=str(site),
        values=sum(one.numel() for one in inputs),
        mean=float(x.mean()),
        deviation=deviation,
        skewness=float(standard.pow(3).mean()) if deviation else math.nan,
        kurtosis=float(standard.pow(4).mean()) - 3 if deviation else math.nan,
        normal_distance=normal_distance(x),
        sample_distance=_mean([normal_distance(sample) for one in inputs for sample in _samples(one)]),
        output_zero=float((y.abs() <= NEAR_ZERO * deviation).double().mean()),
        flat=_mean([_flat(site, one) for one in inputs]),
        z=z,
        percentile=percentile,
        kept=kept,
        parameters={name: float(value.double().mean()) for name, value in learned_parameters(site).items()},
    )


def normal_distance(values: Tensor) -> float:
    """The largest difference between the distribution of values and the normal one of their mean and deviation.

    >>> from limen.quadrature import normal_quantiles
    >>> round(normal_distance(normal_quantiles()), 4), round(normal_distance(torch.tensor([0.0, 1.0])), 4)
    (0.0, 0.3413)
    """
    flat = values.detach().flatten().double()
    deviation = flat.std(correction=0)
    if flat.numel() < 2 or not deviation > 0:
        return math.nan
    ordered = ((flat - flat.mean()) / deviation).sort().values
    normal = torch.special.ndtr(ordered)
    steps = torch.arange(flat.numel() + 1, dtype=torch.float64, device=flat.device) / flat.numel()
    return float(torch.maximum((steps[1:] - normal).max(), (normal - steps[:-1]).max()))


def _samples(x: Tensor) -> list[Tensor]:
    return [sample.float().cpu() for sample in x[:MOST_SAMPLES]] if x.ndim > 1 else []


@torch.enable_grad()
def _flat(site: nn.Module, x: Tensor) -> float:
    """Part of the inputs without slope; of a function of the whole sample, the slope of the sum of its outputs."""
    x = x.detach().clone().requires_grad_()
    # Times 1: an activation in place must not overwrite the leaf.
    (slopes,) = torch.autograd.grad(site(x * 1.0).sum(), x)
    return float((slopes.abs() < FLAT).double().mean())


def _threshold(site: nn.Module, x: Tensor) -> tuple[float, float, float]:
    """ASH's z, the percentile that it stands for, and the percentage of inputs above μ + z·sd."""
    if not isinstance(site, Activation) or "context" not in site.fields:
        return math.nan, math.nan, math.nan
    fixed: Any = site
    if "z_k" in site.params:
        z = site.parameter_values()["z_k"].detach().double()
        if site.group_size > 1:
            z = z.repeat_interleave(site.group_size)
    else:
        z = torch.tensor([percentile_to_z(float(fixed.percentile))], dtype=torch.float64)
    context = Context(fixed.context, site.channel_dim)
    values = x.double()
    shape = [1] * x.ndim
    if z.numel() > 1:
        shape[site.channel_dim] = -1
    above = values >= mean(values, context) + z.to(x.device).reshape(shape) * std(values, context)
    return float(z.mean()), float(z_to_percentile(z).mean()), 100 * float(above.double().mean())


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _mean_of(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    z, percentile, kept = (_mean(column) for column in zip(*rows, strict=True))
    return z, percentile, kept
