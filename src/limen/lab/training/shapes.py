"""What each activation site of a trained network computes, over the inputs it really sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.mixture import AdAct
from limen.inspect.binning import binned
from limen.inspect.sites import learned_parameters
from limen.inspect.sites import sites as inspected
from limen.lab.numerals import stored
from limen.lab.records import LayerShape


def sites(network: nn.Module) -> list[tuple[str, Activation]]:
    """Every limen activation of a network with its path; a mixture counts as one."""
    return inspected(network, Activation)  # type: ignore[return-value]  # these kinds only


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
    means = binned(x, y)
    return LayerShape(
        path=path,
        activation=f"{type(site).__name__}({site.extra_repr()})",
        x=_stored(means.x),
        y=_stored(means.y),
        density=_stored(means.density),
        parameters=_parameters(site),
        weights=_weights(site),
    )


def _parameters(site: Activation) -> dict[str, tuple[float, ...]]:
    """What was learned, but for a mixture's weights."""
    mixture = isinstance(site, AdAct)
    learned = learned_parameters(site)
    return {name: _stored(value.flatten()) for name, value in learned.items() if "." in name or not mixture}


def _weights(site: Activation) -> dict[str, float]:
    if not isinstance(site, AdAct):
        return {}
    weights = site.weights if site.weights.ndim == 1 else site.weights.mean(0)
    return dict(zip(site.names, weights.tolist(), strict=True))


def _stored(values: Tensor) -> tuple[float, ...]:
    return tuple(map(stored, values.tolist()))
