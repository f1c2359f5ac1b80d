"""Torch-Pruning: what an activation has one a channel shrinks with its layer."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.errors import require

_undo: list[Callable[[], None]] = []


def register() -> None:
    """Let Torch-Pruning prune limen's activations, your own included; a second call does nothing.

    Every dependency graph made from then on, by each of its pruners too, takes an activation for one step, whose
    parameters and buffers of one a channel, learned or not, are pruned with the layer before it.

    Raises:
        MissingExtraError: without Torch-Pruning.

    >>> register()  # doctest: +SKIP
    >>> torch_pruning.pruner.MagnitudePruner(limen_model, x, importance).step()  # doctest: +SKIP
    """
    if _undo:
        return
    graph = require("torch_pruning", "torch-pruning", "this adapter needs torch-pruning").DependencyGraph
    original = graph.build_dependency
    signature = inspect.signature(original)

    def build_dependency(*given: Any, **named: Any) -> Any:
        call = signature.bind(*given, **named)
        ours = [m for m in call.arguments["model"].modules() if isinstance(m, Activation) and m.keeps_shape]
        own = call.arguments.get("customized_pruners") or {}
        call.arguments["customized_pruners"] = {**dict.fromkeys(map(type, ours), ChannelPruner()), **own}
        with _as_single_steps(ours):
            return original(*call.args, **call.kwargs)

    graph.build_dependency = build_dependency
    _undo.append(lambda: setattr(graph, "build_dependency", original))


def unregister() -> None:
    """Leave Torch-Pruning as it was before; graphs made meanwhile go on.

    >>> unregister()
    """
    while _undo:
        _undo.pop()()


class ChannelPruner:
    """What Torch-Pruning calls for an activation; its channels go in and come out alike.

    >>> import limen
    >>> ChannelPruner().get_out_channels(limen.ASAU(num_parameters=4, group_size=2))
    8
    """

    pruning_dim = 1

    def prune_out_channels(self, layer: Activation, idxs: Sequence[int]) -> Activation:
        """Take the channels at ``idxs`` away."""
        channels = self.get_out_channels(layer)
        if channels is not None:
            keep_channels_(layer, sorted(set(range(channels)) - set(idxs)))
        return layer

    # One function, by which Torch-Pruning knows that channels in are channels out.
    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: Activation) -> int | None:
        """How many channels it was made for; None for any number."""
        return max((part.num_parameters * part.group_size for part in _by_channel(layer)), default=None)

    get_in_channels = get_out_channels

    def get_out_channel_groups(self, layer: Activation) -> int:
        """One: any channel may be taken away."""
        return 1

    get_in_channel_groups = get_out_channel_groups


def keep_channels_(activation: Activation, kept: Sequence[int]) -> None:
    """Shrink an activation, in place, to some of its channels: parameters with their gradients, and buffers.

    Groups of channels that share a parameter stay groups where as many are left of each; otherwise each channel gets a
    parameter of its own, of the value that it had.

    Args:
        activation: with anything that it is made of; what is shared by all channels stays.
        kept: the places of the channels that are left, in order.

    >>> import limen
    >>> act = limen.ASAU(num_parameters=4, group_size=2)
    >>> keep_channels_(act, [0, 1, 2, 3, 6, 7])
    >>> act
    ASAU(a=0.01, b=1, alpha=1, beta=1, num_parameters=3, group_size=2)
    >>> keep_channels_(act, [0, 2, 3, 4])
    >>> act
    ASAU(a=0.01, b=1, alpha=1, beta=1, num_parameters=4)
    """
    for part in list(_by_channel(activation)):
        places = [channel // part.group_size for channel in kept]
        sizes = Counter(places)
        even = len(set(sizes.values())) == 1
        taken = list(sizes) if even else places
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.ndim and len(parameter) == part.num_parameters:
                part.register_parameter(name, _taken_of_parameter(parameter, taken))
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.ndim and len(buffer) == part.num_parameters:
                setattr(part, name, _taken(buffer, taken))
        part.num_parameters = len(taken)
        part.group_size = sizes[taken[0]] if even and len(taken) > 1 else 1


def _by_channel(activation: Activation) -> Iterator[Activation]:
    """The activation and those that it is made of, as far as they have parameters by channel."""
    parts: Iterable[nn.Module] = activation.modules()
    return (part for part in parts if isinstance(part, Activation) and part.num_parameters > 1)


def _taken_of_parameter(parameter: nn.Parameter, taken: list[int]) -> nn.Parameter:
    shrunk = nn.Parameter(_taken(parameter.detach(), taken), parameter.requires_grad)
    if parameter.grad is not None:
        shrunk.grad = _taken(parameter.grad, taken)
    return shrunk


def _taken(values: Tensor, taken: list[int]) -> Tensor:
    """Rows of a tensor; the one row of a mixture's logits as it is where all channels share it."""
    rows = values.index_select(0, torch.tensor(taken, device=values.device))
    return rows.squeeze(0) if len(taken) == 1 and rows.ndim > 1 else rows


@contextmanager
def _as_single_steps(activations: list[Activation]) -> Iterator[None]:
    """Compute no activation, so that its layer is all that a graph of autograd's operations shows of it."""
    for activation in activations:
        vars(activation)["forward"] = _copied
    try:
        yield
    finally:
        for activation in activations:
            del vars(activation)["forward"]


def _copied(x: Tensor, mask: Tensor | None = None) -> Tensor:
    return x.clone()
