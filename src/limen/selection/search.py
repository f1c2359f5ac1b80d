"""Steering the search: temperature, sampling, entropy, dropped candidates, weights learned on held-out batches.

Everything here is optional; a mixture that none of it has touched is the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.mixture import AdAct
from limen.errors import PlanError, SpecError

SAMPLING = ("none", "gumbel", "straight_through", "gumbel_straight_through")


def places(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, AdAct]]:
    """Every place below a model that holds a mixture: path, parent, name there, mixture; a tied one at each of its own.

    What lies inside an activation belongs to it.

    >>> import limen
    >>> tied = limen.AdAct()
    >>> [path for path, *_ in places(nn.Sequential(tied, nn.Identity(), tied))]
    ['0', '2']
    """

    def walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module, str, AdAct]]:
        for name, child in module._modules.items():
            if isinstance(child, AdAct):
                yield f"{prefix}{name}", module, name, child
            elif child is not None and not isinstance(child, Activation):
                yield from walk(child, f"{prefix}{name}.")

    return walk(model, "")


def mixtures(model: nn.Module) -> list[tuple[str, AdAct]]:
    """Every mixture of a model once, with its first path, in the order of the model.

    >>> import limen
    >>> [path for path, _ in mixtures(nn.Sequential(nn.Linear(2, 2), limen.AdAct()))]
    ['1']
    """
    if isinstance(model, AdAct):
        return [("", model)]
    first: dict[int, tuple[str, AdAct]] = {}
    for path, _, _, mixture in places(model):
        first.setdefault(id(mixture), (path, mixture))
    return list(first.values())


def soft_weights(mixture: AdAct) -> Tensor:
    """A mixture's softmax weights, also where it uses the largest candidate alone; detached, in float32.

    Their shape is that of the logits: (K,) for K candidates, or (num_parameters, K).

    >>> import limen
    >>> mixture = limen.AdAct(("relu", "silu"))
    >>> sample_(mixture, "straight_through")
    >>> soft_weights(mixture)
    tensor([0.5000, 0.5000])
    """
    logits = mixture.logits.detach().float()
    if mixture.weighting is None:
        return logits.softmax(-1)
    scaled = logits / mixture.weighting.temperature
    return scaled.masked_fill(~mixture.weighting.active, -torch.inf).softmax(-1)


def set_temperature_(model: nn.Module, temperature: float) -> None:
    """Divide every mixture's logits by ``temperature`` before the softmax: below 1 is sharper.

    The temperature is a buffer, saved with the model.

    Raises:
        SpecError: for a temperature that is not above 0.
        PlanError: if the model has no mixture.

    >>> import limen
    >>> mixture = limen.AdAct(("relu", "silu"))
    >>> with torch.no_grad():
    ...     _ = mixture.logits.copy_(torch.tensor([0.0, 1.0]))
    >>> set_temperature_(mixture, 0.1)
    >>> round(mixture.weights[1].item(), 4)
    1.0
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise SpecError(f"a temperature is a number above 0, and {temperature!r} was given.")
    for _, mixture in _mixtures(model):
        mixture.shape_weights().temperature.fill_(temperature)


def sample_(model: nn.Module, how: str) -> None:
    """Draw the weights in training instead of using the softmax itself.

    Args:
        model: with mixtures.
        how: ``gumbel``: softmax of logits with Gumbel noise, one draw a step (Jang et al. 2017, arXiv 1611.01144).
            ``straight_through``: the largest candidate alone, with the softmax's gradient (Bengio et al. 2013, arXiv
            1308.3432). ``gumbel_straight_through``: both. ``none``: the paper's softmax.

    In evaluation there is no noise; the straight-through kinds use the largest candidate alone there, too.

    Raises:
        SpecError: for another ``how``.
        PlanError: if the model has no mixture.

    >>> import limen
    >>> mixture = limen.AdAct(("relu", "silu"))
    >>> sample_(mixture, "straight_through")
    >>> mixture.weights
    tensor([1., 0.])
    """
    if how not in SAMPLING:
        raise SpecError(f"no sampling is called {how!r}; known: {', '.join(SAMPLING)}.")
    for _, mixture in _mixtures(model):
        weighting = mixture.shape_weights()
        weighting.gumbel = "gumbel" in how
        weighting.hard.fill_("straight_through" in how)


def entropy(model: nn.Module) -> Tensor:
    """Mean entropy of the mixtures' weights as a fraction of its maximum, differentiable: 0 is one candidate alone.

    Added to a loss with a positive factor it drives the weights to a decision. Its shape is (), its type float32.

    Raises:
        PlanError: if the model has no mixture.

    >>> import limen
    >>> round(entropy(limen.AdAct()).item(), 4)
    1.0
    """
    return torch.stack([_entropy(mixture) for _, mixture in _mixtures(model)]).mean()


def add_entropy_gradient(model: nn.Module, factor: float) -> None:
    """Add the gradient of ``factor`` times :func:`entropy` to the logits' gradients, between backward and step.

    For training loops whose loss is out of reach. Under mixed precision, call it after the gradients are unscaled.

    Raises:
        PlanError: if the model has no mixture and ``factor`` is not 0.

    >>> import limen
    >>> mixture = limen.AdAct(("relu", "silu"))
    >>> add_entropy_gradient(mixture, 0.1)
    >>> mixture.logits.grad
    tensor([0., 0.])
    """
    if factor == 0:
        return
    logits = [mixture.logits for _, mixture in _mixtures(model) if mixture.logits.requires_grad]
    with torch.enable_grad():
        gradients = torch.autograd.grad(factor * entropy(model), logits)
    for parameter, gradient in zip(logits, gradients, strict=True):
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def drop_hopeless_(model: nn.Module, below: float) -> dict[str, tuple[str, ...]]:
    """Take out of every mixture the candidates whose weight is below ``below``; the heaviest always stays.

    What is dropped is not computed any more, so the cost falls. No parameter becomes unused: the logits keep their
    shape, and parameters of dropped candidates stay in the graph with gradient 0, as DistributedDataParallel needs
    it. The decision depends on the logits alone, which are the same in every process.

    Returns:
        What was dropped now, by site.

    Raises:
        SpecError: if ``below`` is not from 0 to less than 1.
        PlanError: if the model has no mixture.

    >>> import limen
    >>> mixture = limen.AdAct(("relu", "silu"))
    >>> with torch.no_grad():
    ...     _ = mixture.logits.copy_(torch.tensor([0.0, 5.0]))
    >>> drop_hopeless_(mixture, 0.05)
    {'': ('relu',)}
    """
    if not 0 <= below < 1:
        raise SpecError(f"candidates are dropped below a weight of 0 to 1, and {below!r} was given.")
    dropped: dict[str, tuple[str, ...]] = {}
    for path, mixture in _mixtures(model):
        largest = soft_weights(mixture).reshape(-1, len(mixture.names)).amax(0)  # in any channel
        keep = largest >= min(below, float(largest.max()))
        gone = tuple(n for i, n in enumerate(mixture.names) if i in mixture.alive and not keep[i])
        if gone:
            mixture.drop_(gone)
            dropped[path] = gone
    return dropped


class HeldoutWeights:
    """Learns the mixtures' logits on held-out batches, and leaves the network's weights to the training batches.

    The first-order bi-level search of DARTS (Liu et al. 2019, arXiv 1806.09055, §2.3 with ξ = 0). The logits are
    frozen for the main optimiser, so make this first, then that. In several processes the gradients are averaged.

    Args:
        model: with mixtures, before it is wrapped for distributed training.
        lr: learning rate of the logits' own Adam.

    Raises:
        PlanError: if the model has no mixture.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(2, 2), limen.AdAct(("relu", "silu")))
    >>> search = HeldoutWeights(model, lr=0.1)
    >>> search.step(lambda: model(torch.randn(8, 2)).square().mean())
    >>> bool((model[1].logits != 0).any())
    True
    """

    def __init__(self, model: nn.Module, lr: float = 1e-3) -> None:
        self.logits = [mixture.logits for _, mixture in _mixtures(model)]
        for logits in self.logits:
            logits.requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.logits, lr=lr)

    def step(self, loss: Callable[[], Tensor]) -> None:
        """One step of the logits down the loss of a held-out batch, which ``loss`` computes as a tensor of shape ().

        >>> import limen
        >>> mixture = limen.AdAct(("relu", "silu"))
        >>> HeldoutWeights(mixture, lr=0.5).step(lambda: mixture.weights.new_tensor(0.0) + mixture.logits[0])
        >>> mixture.logits.data
        tensor([-0.5000,  0.0000])
        """
        try:
            for logits in self.logits:
                logits.requires_grad_(True)
            with torch.enable_grad():
                gradients = torch.autograd.grad(loss(), self.logits)
        finally:
            for logits in self.logits:
                logits.requires_grad_(False)
        for logits, gradient in zip(self.logits, gradients, strict=True):
            logits.grad = _averaged(gradient)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """The state of the logits' optimiser, as :meth:`torch.optim.Optimizer.state_dict` gives it.

        >>> import limen
        >>> sorted(HeldoutWeights(limen.AdAct()).state_dict())
        ['param_groups', 'state']
        """
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken.

        >>> import limen
        >>> search = HeldoutWeights(limen.AdAct(), lr=0.5)
        >>> search.load_state_dict(HeldoutWeights(limen.AdAct(), lr=0.1).state_dict())
        >>> search.optimiser.param_groups[0]["lr"]
        0.1
        """
        self.optimiser.load_state_dict(state)


def _averaged(gradient: Tensor) -> Tensor:
    """The mean over processes, where there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(gradient)
        gradient /= torch.distributed.get_world_size()
    return gradient


def _mixtures(model: nn.Module) -> list[tuple[str, AdAct]]:
    found = mixtures(model)
    if not found:
        raise PlanError(f"{type(model).__name__} has no mixture; swap one in with limen.swap_(model, 'adact').")
    return found


def _entropy(mixture: AdAct) -> Tensor:
    logits = mixture.logits.float()
    if mixture.weighting is not None:
        logits = logits / mixture.weighting.temperature
        logits = logits[..., mixture.weighting.active]
    if logits.shape[-1] < 2:
        return logits.sum() * 0
    shares = logits.log_softmax(-1)
    return -(shares.exp() * shares).sum(-1).mean() / math.log(logits.shape[-1])
