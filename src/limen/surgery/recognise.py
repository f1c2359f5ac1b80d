"""Recognise an activation by what it computes: for lambdas, helper functions and hand-written modules and formulas."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from limen.surgery.known import ACTIVATIONS

TOLERANCE = 1e-3
"""How near to a known function, absolutely and relatively; GELU and its tanh form differ by 5e-4."""

LIBRARIES = ("transformers.activations", "timm.layers.activations", "timm.layers.activations_me")
"""Modules of other libraries that define nothing but activations."""


class Called(nn.Module):
    """A plain callable as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Call it."""
        return self.function(x)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", None) or type(self.function).__name__


class ScaledSiLU(nn.Module):
    """x·σ(kx) with fixed k; at k = 1.702 the quick approximation of GELU (Hendrycks & Gimpel 2016, §2)."""

    def __init__(self, k: float) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """A gate on x."""
        return x * torch.sigmoid(self.k * x)

    def extra_repr(self) -> str:
        """The slope of the gate."""
        return f"k={self.k:.4g}"


class SquaredReLU(nn.Module):
    """max(x, 0)². So et al. 2021, arXiv 2109.08668."""

    def forward(self, x: Tensor) -> Tensor:
        """Square of ReLU."""
        return torch.relu(x).square()


@dataclass(frozen=True)
class Recognised:
    """What a callable computes on each element; ``like`` is the known function it equals, if any."""

    like: nn.Module | None
    in_place: bool = False
    """Whether it overwrites its input."""


def recognise(function: Callable[[Tensor], Tensor]) -> Recognised | None:
    """What ``function`` computes, if that is a function of each element that is not a straight line; else nothing.

    >>> recognise(lambda x: x / (1 + torch.exp(-x))).like
    SiLU()
    >>> recognise(lambda x: 2 * x) is recognise(torch.softmax) is None
    True
    """
    grid = torch.linspace(-6, 6, 97).reshape(1, 97)
    values = _quietly(function, grid)
    if values is None or not _is_elementwise(function, grid, values) or _is_line(values):
        return None
    x, y = grid.flatten(), values.flatten()
    near = [(float((y - reference(x)).abs().max()), reference) for reference in _references(x, y)]
    matching = [(e, r) for e, r in near if bool(((y - r(x)).abs() <= TOLERANCE * (1 + r(x).abs())).all())]
    like = min(matching, key=lambda item: item[0])[1] if matching else None
    with torch.no_grad():
        function(overwritten := grid.clone())
    return Recognised(like, in_place=not torch.equal(overwritten, grid))


def recognise_module(module: nn.Module) -> Recognised | None:
    """What a module of someone's own computes, if it is a function of each element without weights of a layer."""
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or not _could_be_activation(module):
        return None
    try:
        trial = copy.deepcopy(module).eval().cpu().float()
    except Exception:  # it holds a lock or a tensor with a history: whatever it is, no plain activation
        return None
    found = recognise(trial)
    if found is None or found.like is None:
        return found
    inner = [type(child) for child in module.modules() if child is not module and isinstance(child, ACTIVATIONS)]
    # A wrapper round one activation is not the site; what it wraps is.
    return None if type(found.like) in inner else found


def is_library_activation(module: nn.Module) -> bool:
    """Whether another library defines this class among its activations."""
    return type(module).__module__ in LIBRARIES


def _could_be_activation(module: nn.Module) -> bool:
    home = type(module).__module__
    if home.startswith(("torch.", "limen.")) or isinstance(module, torch.jit.ScriptModule):
        return False
    if any(True for _ in module.buffers()) or any(is_lazy(p) or p.numel() > 1 for p in module.parameters()):
        return False
    return takes_one(type(module).forward, bound=False) and len(list(module.modules())) <= 4


def takes_one(function: Any, bound: bool = True) -> bool:
    """Whether a callable needs exactly one argument."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed_by_name = [p for p in parameters if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    return len(needed) == (1 if bound else 2) and not needed_by_name


def _quietly(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor | None:
    """The value, or nothing if it is not that kind of function; draws of random numbers leave no trace."""
    state = torch.get_rng_state()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y: Any = function(x.clone())
    except Exception:  # whatever the code of others does with an input it was not made for
        return None
    finally:
        torch.set_rng_state(state)
    fits = isinstance(y, Tensor) and y.shape == x.shape and y.dtype == x.dtype and bool(torch.isfinite(y).all())
    return y if fits else None


def _is_elementwise(function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> bool:
    """Each output depends on its own input alone: reversing and thinning out change nothing else."""
    changes: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda t: t.flip(1), lambda t: t[:, ::3].contiguous(), lambda t: t.reshape(97, 1)
    )  # fmt: skip
    for change in changes:
        changed = _quietly(function, change(x))
        if changed is None or not torch.allclose(changed, change(y), rtol=1e-5, atol=1e-6):
            return False
    return True


def _is_line(y: Tensor) -> bool:
    second = y.flatten().diff(n=2)
    return bool(second.abs().max() <= 1e-4 * (1 + y.abs().max()))


def _references(x: Tensor, y: Tensor) -> Iterator[nn.Module]:
    """Known functions, with the slope on the left read off where there is one."""
    yield from (nn.ReLU(), nn.ReLU6(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.SELU())
    yield from (nn.Hardswish(), nn.Tanh(), nn.Tanhshrink(), nn.Softsign(), nn.LogSigmoid(), nn.Hardtanh())
    yield from (nn.Sigmoid(), nn.Hardsigmoid(), SquaredReLU(), ScaledSiLU(1.702))
    if y.min() == 0 < y.max() < x.max():
        yield nn.Hardtanh(0.0, float(y.max()))
    slope = float(y[0] / x[0])
    if 0 < abs(slope) < 1:
        yield nn.LeakyReLU(slope)
    if y[0] < 0:
        yield nn.ELU(float(y[0] / torch.expm1(x[0])))
