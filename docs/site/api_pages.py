"""The reference: every public name, as its docstring tells."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType

import limen
from limen.activations.base import Activation

MODULES = ("formula", "functional", "inspect", "selection", "adapters")
LIBRARIES = ("captum", "monai", "opacus", "timm", "torch_pruning", "transformers")
"""Those with an adapter of their own."""


def pages() -> Iterator[tuple[str, str]]:
    """The name of each page and its reStructuredText; the first is the list of the others."""
    titles = {"limen": "limen", **{name: f"limen.{name}" for name in MODULES}, "activations": "Activations"}
    listed = "\n   ".join(titles)
    yield (
        "index",
        f"{_title('Reference')}Every public name, as ``help`` tells of it.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n   {listed}\n",
    )
    classes = [name for name in _public(limen) if _is_activation(name)]
    yield "activations", _title("Activations as classes") + "".join(_entry("limen", name) for name in classes)
    others = [name for name in _public(limen) if name not in classes and name not in MODULES]
    yield "limen", _title("limen") + "".join(_entry("limen", name) for name in others)
    for short in MODULES:
        module = getattr(limen, short)
        entries = "".join(_entry(f"limen.{short}", name) for name in _public(module))
        if short == "adapters":
            entries += "".join(
                f".. autofunction:: limen.adapters.{library}.{name}\n\n"
                for library in LIBRARIES
                for name in ("register", "unregister")
            )
        yield short, f"{_title(f'limen.{short}')}.. automodule:: limen.{short}\n   :no-members:\n\n{entries}"


def expected() -> set[str]:
    """The full names that the reference must have."""
    found = {f"limen.{name}" for name in _public(limen) if name not in (*MODULES, "__version__")}
    for short in MODULES:
        found |= {f"limen.{short}.{name}" for name in _public(getattr(limen, short))}
    return found | {f"limen.adapters.{library}.{name}" for library in LIBRARIES for name in ("register", "unregister")}


def _public(module: ModuleType) -> list[str]:
    """What a module offers, and what a part offers beyond what it lends to ``limen`` itself."""
    if module is limen:
        return sorted(name for name in dir(limen) if not inspect.ismodule(getattr(limen, name)))
    names = dir(module) if module is limen.selection else getattr(module, "__all__", dir(module))
    return sorted(name for name in names if getattr(limen, name, None) is not getattr(module, name))


def _is_activation(name: str) -> bool:
    item = getattr(limen, name)
    return isinstance(item, type) and issubclass(item, Activation) and item is not Activation


def _entry(module: str, name: str) -> str:
    item = getattr(__import__(module, fromlist=[name]), name)
    if isinstance(item, type):
        return f".. autoclass:: {module}.{name}\n   :members:\n   :exclude-members: formula\n\n"
    kind = "function" if inspect.isroutine(item) else "data"
    return f".. auto{kind}:: {module}.{name}\n\n"


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n\n"
