"""Hooks of a module, for each of those that take its place."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


class Carried(OrderedDict[int, Any]):
    """Hooks of its own, among them those of another module; what is removed there is gone here too.

    The handle that a user holds knows the other module's dictionary only, and that by a weak reference.
    """

    # A pickle fills in the items before the attributes.
    source: Mapping[int, Any] = {}
    carried: frozenset[int] = frozenset()

    def _settle(self) -> None:
        gone = [key for key in self.carried if key not in self.source]
        if gone:
            self.carried = self.carried.difference(gone)
            for key in gone:
                super().pop(key, None)

    def __len__(self) -> int:
        self._settle()
        return super().__len__()

    def __contains__(self, key: object) -> bool:
        self._settle()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[int]:
        self._settle()
        return super().__iter__()

    def keys(self) -> Any:
        """Numbers of the hooks that are left."""
        self._settle()
        return super().keys()

    def values(self) -> Any:
        """The hooks that are left."""
        self._settle()
        return super().values()

    def items(self) -> Any:
        """Both."""
        self._settle()
        return super().items()


def carry_hooks(new: nn.Module, old: nn.Module) -> None:
    """Give a module the hooks of another besides its own; each then has its own dictionaries."""
    for name in _HOOKS:
        hooks: Any = getattr(old, name, None)
        if hooks:
            together = Carried({**getattr(new, name), **{key: _bound_to(new, hook) for key, hook in hooks.items()}})
            together.source, together.carried = hooks, frozenset(hooks)
            setattr(new, name, together)
    if old._backward_hooks:
        new._is_full_backward_hook = old._is_full_backward_hook


def _bound_to(module: nn.Module, hook: Any) -> Any:
    """Before loading, torch gives a hook the module it was registered on, which it holds by a weak reference."""
    return type(hook)(hook.hook, module) if getattr(hook, "with_module", False) else hook


def watched_by(module: nn.Module) -> str:
    """Who sees what goes in and out of a module, in words: a hook, or a ``forward`` put on the object."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    if any(hooks):
        return f"a hook watches {type(module).__name__}"
    return f"{type(module).__name__} has a forward of the object's own" if "forward" in vars(module) else ""
