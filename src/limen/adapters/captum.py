"""Captum: DeepLift with the rescale rule of every activation, guided backpropagation and deconvolution through ReLU."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.classic import ReLU
from limen.errors import require
from limen.quadrature import gauss_legendre

_undo: list[Callable[[], None]] = []


def register() -> None:
    """Let Captum know limen's activations, your own classes and later ones included; a second call does nothing.

    ``DeepLift`` and all that is made of it (``DeepLiftShap``, of layers and neurons too) look a rule up by class, and
    take plain gradients for any other without a word. ``GuidedBackprop`` and ``Deconvolution`` treat ``limen.ReLU`` as
    ``nn.ReLU`` then, and warn of activations that they do not change.

    Raises:
        MissingExtraError: without Captum.

    >>> register()  # doctest: +SKIP
    >>> captum.attr.DeepLift(limen_model).attribute(x, baseline)  # doctest: +SKIP
    """
    if not _undo:
        _undo.append(_teach_rescaling(_library("captum.attr._core.deep_lift")))
        _undo.append(_teach_guiding(_library("captum.attr._core.guided_backprop_deconvnet")))


def unregister() -> None:
    """Leave Captum as it was before.

    >>> unregister()
    """
    while _undo:
        _undo.pop()()


def _teach_rescaling(library: Any) -> Callable[[], None]:
    """Add the class of each activation to Captum's table when Captum asks whether it is in there."""
    table, deep_lift = library.SUPPORTED_NON_LINEAR, library.DeepLift
    original = deep_lift._is_non_linear

    def is_non_linear(self: Any, module: nn.Module) -> Any:
        if isinstance(module, Activation):
            table.setdefault(type(module), rescaled)
        return original(self, module)

    deep_lift._is_non_linear = is_non_linear

    def undo() -> None:
        deep_lift._is_non_linear = original
        for ours in [known for known, rule in table.items() if rule is rescaled]:
            del table[ours]

    return undo


def _teach_guiding(library: Any) -> Callable[[], None]:
    attribution = library.ModifiedReluGradientAttribution
    original = attribution._register_hooks

    def register_hooks(self: Any, module: nn.Module) -> None:
        original(self, module)
        if isinstance(module, ReLU):
            self.backward_hooks.extend(library._register_backward_hook(module, self._backward_hook, self))
        elif isinstance(module, Activation):
            changes = f"{type(self).__name__} changes the gradients of ReLU alone"
            warnings.warn(f"{changes}; {type(module).__name__} keeps its own.", stacklevel=2)

    attribution._register_hooks = register_hooks

    def undo() -> None:
        attribution._register_hooks = original

    return undo


def rescaled(
    module: Activation, inputs: Tensor, outputs: Tensor, grad_input: Tensor, grad_output: Tensor, eps: float = 1e-10
) -> Tensor:
    """DeepLIFT's rescale rule: the gradient of the input, by the differences from the reference in place of slopes.

    Shrikumar et al. 2017 (arXiv 1704.02685), eq. 5-7. Where an output depends on other inputs too (``ASH``), the slopes
    are the mean ones on the straight way from the reference, which for an element-wise function is the same.

    Args:
        module: the activation.
        inputs, outputs: those of the samples, then of their references, along the first axis.
        grad_input, grad_output: the gradients there; the first is taken where input and reference agree.
        eps: how far apart they are then at most.

    Returns:
        What stands for ``grad_input``: multiplied by the inputs' differences and summed it is the outputs' difference,
        weighted by ``grad_output``.

    >>> import limen
    >>> x, one = torch.tensor([[3.0], [-1.0]]), torch.ones(2, 1)
    >>> rescaled(limen.ReLU(), x, x.relu(), one, one).tolist()
    [[0.75], [0.75]]
    """
    step, change = _difference(inputs), _difference(outputs)
    if module.elementwise:
        return torch.where(step.abs() < eps, grad_input, grad_output * change / step)
    found = _on_the_way(module, inputs, step, grad_output)
    # What jumps and quadrature leave over: the least change of the slopes that accounts for the whole difference.
    missing = _by_sample(grad_output * change) - _by_sample(found * step)
    length = _by_sample(step.square())
    share = torch.where(length < eps**2, 0.0, missing / length)
    return found + share.reshape(-1, *[1] * (step.ndim - 1)) * step


def _difference(both: Tensor) -> Tensor:
    """From the references to the samples, for each of both."""
    given, reference = both.chunk(2)
    return torch.cat([given - reference] * 2)


def _by_sample(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)


def _on_the_way(module: Activation, inputs: Tensor, step: Tensor, grad_output: Tensor) -> Tensor:
    """The gradient of the input, its mean on the way from the references to the samples."""
    reference = torch.cat([inputs.chunk(2)[1]] * 2)
    total = torch.zeros_like(inputs)
    for node, weight in zip(*(values.tolist() for values in gauss_legendre()), strict=True):
        point = (reference + (node + 1) / 2 * step).requires_grad_()
        with torch.enable_grad():
            # Past the hooks that Captum has set on the module.
            (gradient,) = torch.autograd.grad(module.forward(point), point, grad_output)
        total += weight / 2 * gradient
    return total


def _library(module: str) -> Any:
    return require(module, "captum", "this adapter needs captum")
