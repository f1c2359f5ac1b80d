"""Figures, with Matplotlib, which is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.errors import SampleError, require
from limen.inspect.binning import binned
from limen.inspect.sites import evaluating, passing, sites
from limen.quadrature import normal_quantiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EDGE, POINTS = 4.0, 801
"""Functions of one element are drawn from −4 to 4."""
MOST_NAMED = 12
"""More sites than this are named at the ends only."""


def curves(model: nn.Module, batch: Any = None, ax: Axes | None = None) -> Axes:
    """Draw the function that each activation site computes at present, over the depth of the model from dark to light.

    Without a batch: from −4 to 4; functions of the whole sample (ASH) over a sample of the standard normal
    distribution. With one: mean outputs over the inputs that the site really receives. Where parameters differ
    between channels, the mean over channels. ReLU is dotted.

    Args:
        model: any model; limen's and torch's activation modules are its sites.
        batch: a tensor, a tuple or list that begins with one, or keyword arguments of the model; of the shapes and
            types that it takes.
        ax: where to draw; a new figure if left out.

    Returns:
        Matplotlib's Axes.

    Raises:
        SampleError: if the model has no activation module, or the batch reaches none.
        MissingExtraError: without Matplotlib.

    >>> import limen
    >>> axes = curves(nn.Sequential(nn.Linear(2, 2), limen.ASAU()))
    >>> [line.get_label() for line in axes.get_lines()][:1]
    ['1']
    """
    drawn = _over(model, batch) if batch is not None else _alone(model)
    axes = ax if ax is not None else new_axes()
    colours = by_depth(len(drawn))
    for index, (path, x, y) in enumerate(drawn):
        named = len(drawn) <= MOST_NAMED or index in (0, len(drawn) - 1)
        axes.plot(x.tolist(), y.tolist(), color=colours[index], linewidth=1.5, label=path if named else f"_{path}")
    low = min(float(x.min()) for _, x, _ in drawn)
    high = max(float(x.max()) for _, x, _ in drawn)
    corners = [low, *([0.0] if low < 0 < high else []), high]
    axes.plot(corners, [max(x, 0.0) for x in corners], color="0.4", linewidth=1, linestyle=":", label="ReLU")
    axes.set_xlabel("input" if batch is None else "input, as received")
    axes.set_ylabel("output")
    axes.legend(frameon=False, fontsize="small")
    return axes


def _over(model: nn.Module, batch: Any) -> list[tuple[str, Tensor, Tensor]]:
    found = []
    for path, _, calls in passing(model, batch):
        inputs, outputs = (torch.cat([one[index].flatten() for one in calls]) for index in (0, 1))
        means = binned(inputs, outputs)
        found.append((path, means.x, means.y))
    return found


@torch.no_grad()
def _alone(model: nn.Module) -> list[tuple[str, Tensor, Tensor]]:
    known = sites(model)
    if not known:
        raise SampleError(
            "the model has no activation module to draw; limen.swap_(model, 'relu') makes functions modules."
        )
    with evaluating(model):
        return [(path, *function_of(site)) for path, site in known]


def function_of(site: nn.Module, edge: float = EDGE) -> tuple[Tensor, Tensor]:
    """Inputs of (n,) in ascending order, and the output at each, the mean over channels."""
    values = torch.linspace(-edge, edge, POINTS)
    if isinstance(site, Activation) and not site.elementwise:
        values = normal_quantiles()[::32].float()
    parameter = next(site.parameters(), next(site.buffers(), values))
    values = values.to(parameter.device, parameter.dtype) if parameter.is_floating_point() else values
    channels, axis = _channels(site)
    # One sample: the values along the last axis, or along the one before where the channels come last.
    dimensions = max(3, axis + 1) if axis >= 0 else 3
    place = axis % dimensions
    along = dimensions - 1 if place != dimensions - 1 else dimensions - 2
    shape = [1] * dimensions
    shape[along] = -1
    x = values.reshape(shape)
    sizes = [1] * dimensions
    sizes[place] = channels
    outputs: Tensor = site(x.repeat(sizes))
    others = tuple(dimension for dimension in range(dimensions) if dimension != along)
    return values.cpu(), outputs.mean(others).cpu()


def _channels(site: nn.Module) -> tuple[int, int]:
    """How many channels the site's parameters are for, and on which axis."""
    if isinstance(site, Activation):
        return site.num_parameters * site.group_size if site.num_parameters > 1 else 1, site.channel_dim
    return (site.num_parameters if isinstance(site, nn.PReLU) else 1), 1


def new_axes() -> Axes:
    """Axes of a figure of their own, which no global state keeps."""
    figure = require("matplotlib.figure", "plot", "a figure needs matplotlib").Figure
    axes: Axes = figure(figsize=(6, 4), layout="constrained").subplots()
    return axes


def by_depth(count: int) -> list[Any]:
    """A colour for each of so many layers, from dark (first) to light (last)."""
    from matplotlib import colormaps

    shades = colormaps["viridis"]
    return [shades(0.9 * index / max(count - 1, 1)) for index in range(count)]
