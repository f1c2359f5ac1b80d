"""Triton source in, kernels out.

Triton reads the text of its functions back through ``inspect``. Generated text is therefore kept where Python keeps the
text of code without a file (``linecache``, as dataclasses and IPython do): no file is written that another user could
have replaced before it is run. What Triton compiles from it, Triton keeps in its own folder ($TRITON_CACHE_DIR).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import linecache
import re
from types import ModuleType
from typing import Any

from limen.kernels.bound import BoundFormula, derive
from limen.kernels.triton import samples, source


def installed() -> bool:
    """Whether Triton can be imported; asked without importing it."""
    return importlib.util.find_spec("triton") is not None


def interpreted() -> bool:
    """Whether Triton runs kernels in its interpreter, on CPU tensors: TRITON_INTERPRET=1, set before it is imported."""
    import triton
    import triton.language as tl

    # Not by the variable: set after Triton was imported, it would reach our kernels and not Triton's own functions.
    return not isinstance(tl.cdiv, triton.runtime.jit.JITFunction)


def has_device() -> bool:
    """Whether Triton has a working driver for a GPU here."""
    import triton

    try:
        triton.runtime.driver.active.get_current_target()
    except Exception:  # each vendor's driver fails in its own way
        return False
    return True


@functools.cache
def forward_kernels(bound: BoundFormula, layout: str) -> Any:
    """The module of the forward kernels.

    Raises:
        UntraceableError: if the formula has no expression.
    """
    derived = bound, derive(bound, ())
    text = samples.forward_source(*derived) if layout == "sample" else source.forward_source(*derived, layout)
    return load(text, f"{bound.name} forward {layout}")


@functools.cache
def backward_kernels(bound: BoundFormula, layout: str, wanted: tuple[str, ...]) -> Any:
    """The module of the backward kernels, for the gradients of the input and of the wanted parameters."""
    derived = bound, derive(bound, wanted)
    text = samples.backward_source(*derived) if layout == "sample" else source.backward_source(*derived, layout)
    return load(text, f"{bound.name} backward {layout}")


def load(text: str, title: str) -> Any:
    """The module of this source text, which ``inspect`` then knows."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = f"limen_triton_{re.sub(r'[^A-Za-z0-9]', '_', title)}_{digest}"
    file = f"<{name}>"
    # Without a time of change the entry is not checked against the disk.
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = ModuleType(name)
    module.__file__ = file
    exec(compile(text, file, "exec"), module.__dict__)  # printed by this package from a derived expression
    return module
