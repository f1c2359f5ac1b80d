"""Give an object a class made from its own: same name, same instances, and it copies and pickles.

A module whose ``forward`` is rewritten must differ from its siblings by class, because Python, ``torch.compile`` and
``super()`` look methods up there. The made class is found again from its base and a recipe of plain data, so a pickle
holds only those.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

_MADE: dict[tuple[Any, ...], type] = {}

Make = Callable[..., Mapping[str, Any]]
"""A function of this package from a base class and a recipe to what the made class adds to its base."""


class Derived:
    """Base of every made class, before its original in the order of inheritance."""

    # No __slots__: objects change class only between equal layouts, and nn.Module's has a __dict__ and weak
    # references.
    limen_base: ClassVar[type]
    limen_make: ClassVar[Make]
    limen_recipe: ClassVar[tuple[Any, ...]]
    limen_swapped: ClassVar[tuple[str, ...]] = ()
    """Children that surgery has put in."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Nothing: what a class does when it is inherited from, such as registering, is not meant for made ones."""

    def __setstate__(self, state: Any) -> None:
        """As its class does it, which may put an old activation where it looks for one and finds none; swapped stays.

        The state of a shallow copy is the original's own dictionary, so the class gets one of its own.
        """
        held = {name: state["_modules"][name] for name in self.limen_swapped if name in state["_modules"]}
        ancestors: Any = super()
        ancestors.__setstate__(dict(state))
        for name, module in held.items():
            vars(self).pop(name, None)
            vars(self)["_modules"][name] = module

    def __reduce_ex__(self, protocol: Any) -> Any:
        cls = type(self)
        reduced: Any = super().__reduce_ex__(protocol)
        function, arguments, *rest = reduced
        if function is copyreg.__newobj__ and arguments and arguments[0] is cls:  # type: ignore[attr-defined]
            return _blank, (cls.limen_base, cls.limen_make, cls.limen_recipe, *arguments[1:]), *rest
        return _converted, (cls.limen_make, cls.limen_recipe, function, arguments), *rest


def derive(base: type, make: Make, *recipe: Any) -> type:
    """The class made from ``base``; the same one for the same recipe."""
    key = (base, make, recipe)
    if key not in _MADE:
        namespace = {
            "__module__": base.__module__,
            "__qualname__": base.__qualname__,
            "__doc__": base.__doc__,
            "limen_base": base,
            "limen_make": staticmethod(make),
            "limen_recipe": recipe,
            **make(base, *recipe),
        }
        _MADE[key] = type(base)(base.__name__, (Derived, base), namespace)
    return _MADE[key]


def base_of(item: Any) -> type:
    """An object's class as its author wrote it."""
    cls: Any = type(item)
    while issubclass(cls, Derived):
        cls = cls.limen_base
    return cls  # type: ignore[no-any-return]


def _blank(base: type, make: Make, recipe: tuple[Any, ...], *arguments: Any) -> Any:
    cls: Any = derive(base, make, *recipe)
    return cls.__new__(cls, *arguments)


def _converted(make: Make, recipe: tuple[Any, ...], function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """For classes that say themselves how they are copied: let them, then derive again."""
    item = function(*arguments)
    if not isinstance(item, Derived):
        item.__class__ = derive(type(item), make, *recipe)
    return item
