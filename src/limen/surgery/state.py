"""What a new module takes over from the place it comes to, and state dicts from before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.kernels.precision import HALF_TYPES

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip


def take_over(new: nn.Module, old: nn.Module, owner: nn.Module, model: nn.Module, hooks: bool) -> nn.Module:
    """Give a new module the device, type, mode, hooks and frozenness of what it replaces.

    A type that was asked for stays.
    """
    own = list(old.parameters())
    near = (t for source in (old, owner, model) for t in (*source.parameters(), *source.buffers()))
    reference = next((t for t in near if t.is_floating_point()), None)
    if reference is not None and not reference.is_meta:
        asked = isinstance(new, Activation) and new.dtype_asked is not None
        dtype = None if asked else _type_of(old, owner, model) or reference.dtype
        new = new.to(device=reference.device, dtype=dtype)
    if own and not any(parameter.requires_grad for parameter in own):
        new.requires_grad_(False)
    if hooks:
        for name in _HOOKS:
            # The same dictionaries, so that the handles users keep still remove their hooks.
            if hasattr(old, name):
                setattr(new, name, getattr(old, name))
    return new.train(old.training if own or hooks else owner.training)


def _type_of(*sources: nn.Module) -> torch.dtype | None:
    """The type that the first of them with any is computed in; activations say nothing, for they may be float32."""
    for source in sources:
        for module in source.modules():
            for tensor in () if isinstance(module, Activation) else module.parameters(recurse=False):
                if tensor.is_floating_point():
                    return tensor.dtype
    return None


class StateMap:
    """Lets a swapped model load state dicts from before the swap, and makes such dicts of its own.

    A state dict counts as one from before if, where the new activations are, it has just the keys that the old ones
    had, or no key of any new one; those then keep their values. Else every key is asked for, as always.
    """

    def __init__(self, new: Sequence[str], old: Mapping[str, Tensor]) -> None:
        self.new = tuple(new)
        """Prefixes of the new modules, such as ``layer1.relu.``."""
        self.old = dict(old)
        """Keys and values that only the original had."""

    def __call__(self, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        """Before loading: add what a state dict from before lacks, and drop what it has beyond."""
        own = {prefix + key: value for key, value in module.state_dict().items() if key.startswith(self.new)}
        given = {key for key in state if key.startswith(tuple(prefix + new for new in self.new))}
        if not own or given == set(own):
            return
        if given != {prefix + key for key in self.old} and not given.isdisjoint(own):
            return
        if not any(key.startswith(prefix) for key in state) and prefix:
            return
        for key in self.old:
            state.pop(prefix + key, None)
        state.update(own)

    def within(self, path: str) -> Callable[..., None]:
        """The same for a module of the model that is loaded alone; a load of the whole model is left to the whole."""
        start = f"{path}."
        new = [key.removeprefix(start) for key in self.new if key.startswith(start)]
        old = {key.removeprefix(start): value for key, value in self.old.items() if key.startswith(start)}
        return partial(_alone, StateMap(new, old))

    def original(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without the new activations, with what the old ones held at the swap."""
        kept = {key: value for key, value in state.items() if not key.startswith(self.new)}
        return {**kept, **self.old}


def _alone(loading: StateMap, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    if not prefix:
        loading(module, state, prefix)


class MovingStateMap(StateMap):
    """Also where an original with weights stays for some of its calls, under a name of its own."""

    def __init__(self, new: Sequence[str], old: Mapping[str, Tensor], moved: Mapping[str, str]) -> None:
        super().__init__(new, old)
        self.moved = dict(moved)
        """Keys of originals that stay, and the keys they had."""

    def __call__(self, module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Before loading: a state dict from before has the weights under their old keys."""
        own = {key.removeprefix(prefix) for key in state if key.startswith(prefix)}
        if any(key.startswith(self.new) and key not in self.old for key in own):
            return  # one of the swapped model
        for new, old in self.moved.items():
            if prefix + old in state:
                state.setdefault(prefix + new, state[prefix + old])
        super().__call__(module, state, prefix, *rest)

    def original(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """With the weights of what stayed as they are now."""
        kept = {key: value for key, value in state.items() if key not in self.moved}
        now = {old: state[new] for new, old in self.moved.items() if new in state}
        return {**super().original(kept), **now}


def old_state(path: str, module: nn.Module) -> dict[str, Tensor]:
    """What a replaced module put into the state dict."""
    return {f"{path}.{key}" if path else key: value.detach().clone() for key, value in module.state_dict().items()}


def settle(old: nn.Module, new: nn.Module, owner: nn.Module) -> None:
    """Bring a module that comes back to where its place has moved since: mode, device and type."""
    old.train(new.training)
    before, now = next(old.parameters(), None), next(new.parameters(), None)
    if before is not None and now is not None and not now.is_meta:
        kept = isinstance(new, Activation) and before.dtype in HALF_TYPES
        wanted: torch.dtype = _type_of(owner) or before.dtype if kept else now.dtype
        old.to(device=now.device, dtype=wanted)
