"""limen: activation functions that learn their shape, and a lab that finds out which one a model should use.

Every public name lives in the module that defines it and is imported here when first used, so that
``import limen`` costs nothing and the command line answers before torch is loaded.

>>> import limen
>>> limen.create("asau")
ASAU(a=0.01, b=1, alpha=1, beta=1)
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limen import adapters as adapters
    from limen import formula as formula
    from limen import functional as functional
    from limen import inspect as inspect
    from limen import selection as selection
    from limen.activations import *  # noqa: F403
    from limen.beside import *  # noqa: F403
    from limen.deploy import *  # noqa: F403
    from limen.errors import *  # noqa: F403
    from limen.initialization import *  # noqa: F403
    from limen.kernels.dispatch import *  # noqa: F403
    from limen.selection import *  # noqa: F403
    from limen.surgery import *  # noqa: F403
    from limen.training import *  # noqa: F403
    from limen.warmstart import *  # noqa: F403

__version__ = "0.1.0"

_HOMES = (
    "limen.errors",
    "limen.activations",
    "limen.beside",
    "limen.initialization",
    "limen.kernels.dispatch",
    "limen.surgery",
    "limen.training",
    "limen.warmstart",
    "limen.selection",
    "limen.deploy",
)
"""The modules whose ``__all__`` together are the public names."""
_MODULES = ("adapters", "formula", "functional", "inspect", "selection")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"limen.{name}")
    # ``from limen import cli`` asks for the attribute first, and must not load torch to learn that it is a module.
    if not name.startswith("_") and find_spec(f"limen.{name}") is None:
        for home in _HOMES:
            module = import_module(home)
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'limen' has no attribute {name!r}")


def __dir__() -> list[str]:
    public = [name for home in _HOMES for name in import_module(home).__all__]
    return sorted([*public, *_MODULES, "__version__"])
