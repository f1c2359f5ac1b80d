"""What each activation site of a trained network computes, over the inputs it really sees."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.mixture import AdAct
from limen.lab.records import LayerShape

BINS = 81
TAILS = 0.001
"""Fraction of the inputs left out at each end, so that a few extremes do not stretch the picture."""
MOST_VALUES = 1_000_000
"""More inputs than this are thinned out evenly; the histogram of 81 bins does not need them."""


def sites(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, Activation]]:
    """Every limen activation of a network with its path; a mixture counts as one."""
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, Activation):
            yield path, child
        else:
            yield from sites(child, f"{path}.")


@torch.no_grad()
def layer_shapes(network: nn.Module, images: Tensor) -> tuple[LayerShape, ...]:
    """Run ``images`` through the network and describe every activation site by binned inputs and mean outputs.

    Binned means describe functions of the whole sample (ASH) as well as functions of one element, and functions
    that differ between channels.
    """
    found: dict[str, LayerShape] = {}
    handles = [
        site.register_forward_hook(
            lambda module, inputs, output, path=path: found.update({path: _shape(path, module, inputs[0], output)})
        )
        for path, site in sites(network)
    ]
    training = network.training
    network.eval()
    try:
        network(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return tuple(found[path] for path, _ in sites(network) if path in found)


def _shape(path: str, site: Activation, x: Tensor, y: Tensor) -> LayerShape:
    x, y = _thinned(x), _thinned(y)
    low, high = torch.quantile(x, TAILS).item(), torch.quantile(x, 1 - TAILS).item()
    width = max(high - low, 1e-12) / BINS
    inside = (x >= low) & (x <= high)
    index = ((x - low) / width).long().clamp(0, BINS - 1)[inside]
    count = torch.bincount(index, minlength=BINS)
    filled = count > 0
    weights = {"minlength": BINS}
    x_mean = torch.bincount(index, x[inside], **weights)[filled] / count[filled]
    y_mean = torch.bincount(index, y[inside], **weights)[filled] / count[filled]
    return LayerShape(
        path=path,
        activation=f"{type(site).__name__}({site.extra_repr()})",
        x=_rounded(x_mean),
        y=_rounded(y_mean),
        density=_rounded(count[filled] / x.numel()),
        parameters=_parameters(site),
        weights=_weights(site),
    )


def _thinned(values: Tensor) -> Tensor:
    flat = values.detach().float().cpu().flatten()
    return flat[:: flat.numel() // MOST_VALUES + 1].double()


def _parameters(site: Activation) -> dict[str, tuple[float, ...]]:
    learned = {id(parameter) for parameter in site.parameters() if parameter.requires_grad}
    mixture = isinstance(site, AdAct)
    return {
        name: _rounded(value.detach().flatten())
        for name, value in site.parameter_values().items()
        if ("." in name if mixture else id(value) in learned or value.requires_grad)
    }


def _weights(site: Activation) -> dict[str, float]:
    if not isinstance(site, AdAct):
        return {}
    weights = site.weights if site.weights.ndim == 1 else site.weights.mean(0)
    return dict(zip(site.names, weights.tolist(), strict=True))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values.tolist())
