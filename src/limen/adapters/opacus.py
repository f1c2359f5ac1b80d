"""Opacus: the gradient of each sample for every activation, of fixed parameters and of noise too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.masking import fitted
from limen.activations.mixture import AdAct
from limen.errors import require
from limen.kernels.autograd import by_sample
from limen.kernels.call import drawn

_STATE, _MASK = "_opacus_state", "_opacus_mask"
_undo: list[Callable[[], None]] = []


def register() -> None:
    """Let Opacus differentiate limen's activations by sample, your own included; a second call does nothing.

    Opacus refuses a layer that learns and has buffers, such as ``ASAU``, whose fixed slopes are buffers, and computes
    other activations again by ``vmap``, which cannot draw the noise that they had. Fixed parameters of an activation
    are of no sample, so they are let pass.

    Raises:
        MissingExtraError: without Opacus.

    >>> register()  # doctest: +SKIP
    >>> opacus.GradSampleModule(limen_model)  # doctest: +SKIP
    """
    if _undo:
        return
    hooked, clipping = (_library(f"opacus.grad_sample.{name}") for name in _MODULES)
    for owner in (hooked, clipping):
        _replace(owner, "requires_grad", _of_all_within)
        _replace(owner, "ft_compute_per_sample_gradient", _ours_or)
    _replace(hooked, "has_trainable_params", _of_all_within)
    _replace(hooked, "prepare_layer", _unless_ours)
    _replace(hooked, "trainable_modules", _without_ours)
    _replace(hooked.GradSampleHooks, "add_hooks", _noting_calls)
    for owner in (hooked.GradSampleHooks, clipping.GradSampleHooksFastGradientClipping):
        _replace(owner, "capture_activations_hook", _keeping_calls)


def unregister() -> None:
    """Leave Opacus as it was before; models that it wrapped meanwhile cannot go on.

    >>> unregister()
    """
    while _undo:
        _undo.pop()()


_MODULES = ("grad_sample_module", "grad_sample_module_fast_gradient_clipping")


def _replace(owner: Any, name: str, by: Callable[[Any], Any]) -> None:
    original = vars(owner)[name]
    setattr(owner, name, by(original))
    _undo.append(lambda: setattr(owner, name, original))


def _is_ours(module: nn.Module) -> bool:
    """Whether it computes its formula, and not what a subclass made of it."""
    return isinstance(module, Activation) and type(module).forward in (Activation.forward, AdAct.forward)


def _of_all_within(original: Any) -> Any:
    """Whether a module learns: a mixture also where its logits do not, and a candidate does."""

    def learns(module: nn.Module, **named: Any) -> Any:
        return any(p.requires_grad for p in module.parameters()) if _is_ours(module) else original(module, **named)

    return learns


def _ours_or(original: Any) -> Any:
    def gradients(module: nn.Module, activations: Sequence[Tensor], backprops: Tensor) -> Any:
        if not _is_ours(module):
            return original(module, activations, backprops)
        x, *call = activations[::-1]
        return per_sample_gradients(module, x, backprops, *call)  # type: ignore[arg-type]

    return gradients


def _unless_ours(original: Any) -> Any:
    def prepare_layer(layer: nn.Module, **named: Any) -> None:
        if not _is_ours(layer):
            original(layer, **named)

    return prepare_layer


def _without_ours(original: Any) -> Any:
    """The modules whose buffers Opacus asks for, but no activation nor part of one."""

    def trainable_modules(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        ours = {id(part) for found in module.modules() if _is_ours(found) for part in found.modules()}
        return ((name, found) for name, found in original(module) if id(found) not in ours)

    return trainable_modules


def _noting_calls(original: Any) -> Any:
    """Hook each activation to note, before it is called, what its input does not tell of the call."""

    def note(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        mask = named.get("mask", arguments[1] if len(arguments) > 1 else None)
        # Two axes, because Opacus may permute them.
        state = torch.default_generator.get_state()[None] if _draws(module) else torch.empty(0, 0)
        vars(module).update({_STATE: state, _MASK: torch.empty(0, 0) if mask is None else mask})

    def add_hooks(self: Any, **named: Any) -> None:
        original(self, **named)
        for module in self.iterate_submodules(self._module):
            if _is_ours(module):
                handle = module.register_forward_pre_hook(note, with_kwargs=True)
                self._module.autograd_grad_sample_hooks.append(handle)

    return add_hooks


def _draws(module: Any) -> bool:
    """Whether the activation, or the weights of a mixture, are drawn in training."""
    inside: Iterable[nn.Module] = module.modules()
    return bool(module.bind(training=True).noise) or any(getattr(part, "gumbel", False) for part in inside)


def _keeping_calls(original: Any) -> Any:
    """Put what was noted of a call before its input, which Opacus keeps in a stack."""

    def capture_activations_hook(self: Any, module: nn.Module, given: Sequence[Tensor], result: Tensor) -> None:
        state, mask = vars(module).pop(_STATE, None), vars(module).pop(_MASK, None)
        kept = len(getattr(module, "activations", ()))
        original(self, module, given if state is None else given[:1], result)
        if state is not None and len(stack := getattr(module, "activations", [])) > kept:
            stack[-1][:0] = [state, mask]

    return capture_activations_hook


def per_sample_gradients(
    module: Activation, x: Tensor, g: Tensor, mask: Tensor | None = None, state: Tensor | None = None
) -> dict[nn.Parameter, Tensor]:
    """The gradients of the activation's parameters from each sample of a batch alone.

    Args:
        module: in the mode in which it was called.
        x: what it was called with, samples along the first axis.
        g: the gradient of its output.
        mask: as it was called with; an empty one is none.
        state: of torch's generator before the call, if it drew noise; an empty one is none.

    Returns:
        Of each learned parameter a tensor with one axis more, of the samples, before its own.

    >>> import limen
    >>> swish = limen.Swish()
    >>> per_sample_gradients(swish, torch.zeros(3, 4), torch.ones(3, 4))[swish.beta].shape
    torch.Size([3, 1])
    """
    if state is not None and state.numel():
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.set_state(state.flatten())
            return per_sample_gradients(module, x, g, mask)
    if mask is not None and mask.numel():
        counts = fitted(mask, x)
        x, g = torch.where(counts, x, 0.0), torch.where(counts, g, 0.0)
    else:
        counts = None
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        # In the order of a call: the weights of a mixture are drawn before the noise.
        tensors = [t.repeat_interleave(module.group_size) if t.numel() > 1 else t for t in module.tensors()]
    call = drawn(module.bind(module.training), x, [t.detach() for t in tensors], module.channel_dim)
    by_tensor = by_sample(call, g, None if module.elementwise else counts)
    roots = [(t, by) for t, by in zip(tensors, by_tensor, strict=True) if t.requires_grad]
    found = torch.autograd.grad(
        [root for root, _ in roots], learned, [by for _, by in roots], is_grads_batched=True, allow_unused=True
    )
    nothing = (len(x),)
    return {
        p: torch.zeros(nothing + p.shape, dtype=p.dtype, device=p.device) if gradient is None else gradient
        for p, gradient in zip(learned, found, strict=True)
    }


def _library(module: str) -> Any:
    return require(module, "opacus", "this adapter needs opacus")
