"""Activations drawn beside each other, by name or as they are."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.registry import create
from limen.errors import LimenError, SpecError
from limen.inspect.drawing import EDGE, function_of, new_axes
from limen.inspect.sites import evaluating

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(
    activations: str | nn.Module | Iterable[str | nn.Module],
    ax: Axes | None = None,
    *,
    slope: bool = False,
    edge: float = EDGE,
) -> Axes:
    """Draw activations into one picture, for their present parameters, the mean over channels.

    Functions of the whole sample (ASH) are drawn over a sample of the standard normal distribution.

    Args:
        activations: one or several: specs such as ``"asau:beta=2"``, or modules, of which torch's are some too.
        ax: where to draw; a new figure if left out.
        slope: draw the slopes instead, by x where statistics stay as they are.
        edge: draw from −edge to edge.

    Returns:
        Matplotlib's Axes.

    Raises:
        SpecError: for a spec that names nothing, and for what changes the shape of its input.
        LimenError: for what is neither a spec nor a module, and for none.
        MissingExtraError: without Matplotlib.

    >>> axes = plot(["relu", "asau:beta=2"])
    >>> [line.get_label() for line in axes.get_lines()]
    ['relu', 'asau:beta=2']
    """
    given = [activations] if isinstance(activations, (str, nn.Module)) else list(activations)
    if not given:
        raise LimenError("there is nothing to plot; give a name such as 'asau', a module, or several.")
    axes = ax if ax is not None else new_axes()
    for one in given:
        x, y = _curve(one, slope, edge)
        axes.plot(x.tolist(), y.tolist(), linewidth=1.5, label=one if isinstance(one, str) else str(one))
    axes.set_xlabel("x")
    axes.set_ylabel("slope" if slope else "value")
    axes.legend(frameon=False, fontsize="small")
    return axes


def _curve(one: str | nn.Module, slope: bool, edge: float) -> tuple[Tensor, Tensor]:
    """Inputs in ascending order, and the value or the slope at each."""
    if not isinstance(one, (str, nn.Module)):
        raise LimenError(f"{one!r} is not to be plotted; give a name such as 'asau', or a module.")
    module = create(one) if isinstance(one, str) else copy.deepcopy(one)
    if isinstance(module, Activation) and not module.keeps_shape:
        raise SpecError(f"{module!r} changes the shape of its input, so it has no curve.")
    module = module.to(device="cpu", dtype=torch.float64)
    with evaluating(module), torch.no_grad():
        x, y = function_of(module, edge)
    if slope:
        (y,) = torch.gradient(y.double(), spacing=(x.double(),))
    return x, y
