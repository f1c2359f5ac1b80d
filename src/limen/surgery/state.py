"""What a new module takes over from the place it comes to, and state dicts from before and after."""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.kernels.precision import HALF_TYPES
from limen.surgery.hooks import carry_hooks

References = dict[int, tuple[Tensor | None, torch.dtype | None]]
"""Of each module that was asked: its first floating-point tensor, and the type that it is computed in."""


def take_over(
    new: nn.Module, old: nn.Module, owner: nn.Module, model: nn.Module, hooks: bool, known: References | None = None
) -> nn.Module:
    """Give a new module the device, type, mode, hooks and frozenness of what it replaces.

    A type that was asked for stays. ``known`` holds what earlier calls found for the same model, which else is searched
    at every site.
    """
    own = list(old.parameters())
    known = {} if known is None else known
    near = [_reference(source, known) for source in (old, owner, model)]
    reference = next((tensor for tensor, _ in near if tensor is not None), None)
    if reference is not None and not reference.is_meta:
        asked = isinstance(new, Activation) and new.dtype_asked is not None
        computed = next((kind for _, kind in near if kind is not None), reference.dtype)
        dtype = None if asked else computed
        new = new.to(device=reference.device, dtype=dtype)
    if own and not any(parameter.requires_grad for parameter in own):
        new.requires_grad_(False)
    if hooks:
        carry_hooks(new, old)
    return new.train(old.training if own or hooks else owner.training)


def _reference(module: nn.Module, known: References) -> tuple[Tensor | None, torch.dtype | None]:
    if id(module) not in known:
        tensors = itertools.chain(module.parameters(), module.buffers())
        known[id(module)] = next((tensor for tensor in tensors if tensor.is_floating_point()), None), _type_of(module)
    return known[id(module)]


def _type_of(source: nn.Module) -> torch.dtype | None:
    """The type that it is computed in; activations say nothing, for they may be float32."""
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

    def __init__(
        self, new: Sequence[str], old: Mapping[str, Any], layout: Sequence[str] = (), versions: Mapping[str, Any] = {}
    ) -> None:
        self.new = tuple(new)
        """Prefixes of the new modules, such as ``layer1.relu.``."""
        self.old = dict(old)
        """Keys and values that only the original had."""
        self.layout = {key: number for number, key in enumerate(layout)}
        """The original's keys in their order."""
        self.versions = dict(versions)
        """What the original's state dict said of its modules beside their tensors."""

    def __call__(self, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        """Before loading: add what a state dict from before lacks, and drop what it has beyond."""
        own = {prefix + key: value for key, value in module.state_dict().items() if key.startswith(self.new)}
        given = {key for key in state if key.startswith(tuple(prefix + new for new in self.new))}
        if given == set(own):
            return
        if given != {prefix + key for key in self.old} and (not own or not given.isdisjoint(own)):
            return
        if not any(key.startswith(prefix) for key in state) and prefix:
            return
        for key in self.old:
            state.pop(prefix + key, None)
        state.update(own)

    def within(self, path: str) -> Callable[..., None]:
        """The same for a module of the model that is loaded alone; a load of the whole model is left to the whole."""
        return partial(_alone, self, f"{path}.")

    def original(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without the new activations, with what the old ones held at the swap, in the order of the original."""
        kept = {key: value for key, value in state.items() if not key.startswith(self.new)}
        back: Any = OrderedDict(self._in_order({**kept, **self.old}))
        if hasattr(state, "_metadata"):
            back._metadata = self._metadata(state._metadata)
        return back  # type: ignore[no-any-return]

    def _in_order(self, state: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return sorted(state.items(), key=lambda item: self.layout.get(item[0], len(self.layout)))

    def _metadata(self, now: Mapping[str, Any]) -> OrderedDict[str, Any]:
        """The versions of modules, by which some classes know how to load."""
        ours = [path for path in now if f"{path}.".startswith(self.new)]
        others = {path: value for path, value in now.items() if path not in ours}
        before = {path: others.get(path, value) for path, value in self.versions.items()}
        return OrderedDict({**before, **others})


def _alone(whole: StateMap, start: str, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    if not prefix:
        new = [key.removeprefix(start) for key in whole.new if key.startswith(start)]
        old = {key.removeprefix(start): value for key, value in whole.old.items() if key.startswith(start)}
        StateMap(new, old)(module, state, prefix)


class MovingStateMap(StateMap):
    """Also where an original with weights stays for some of its calls, under a name of its own."""

    def __init__(self, moved: Mapping[str, str], *rest: Any) -> None:
        super().__init__(*rest)
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
        kept: Any = OrderedDict((key, value) for key, value in state.items() if key not in self.moved)
        if hasattr(state, "_metadata"):
            kept._metadata = state._metadata
        back = super().original(kept)
        back.update({old: state[new] for new, old in self.moved.items() if new in state})
        return back


def held_under(state: Mapping[str, Any], prefixes: Iterable[str]) -> dict[str, Any]:
    """The part of a state dict that is under these prefixes, as it is now."""
    found = {key: value for key, value in state.items() if key.startswith(tuple(prefixes))}
    return {k: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in found.items()}


def settle(old: nn.Module, new: nn.Module, owner: nn.Module) -> None:
    """Bring a module that comes back to where its place has moved since: mode, device and type."""
    old.train(new.training)
    before, now = next(old.parameters(), None), next(new.parameters(), None)
    if before is not None and now is not None and not now.is_meta:
        kept = isinstance(new, Activation) and before.dtype in HALF_TYPES
        wanted: torch.dtype = _type_of(owner) or before.dtype if kept else now.dtype
        old.to(device=now.device, dtype=wanted)
