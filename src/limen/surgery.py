"""Replace the activations of a model.

Sites are modules: every instance of a known activation class, wherever it is registered. Gates (sigmoid, softmax, …)
are kept, because they bound a quantity rather than activate a layer. Activations called as functions (``F.relu``)
are not modules and cannot be replaced yet; those found in the source of a ``forward`` are reported with file and line.
"""

from __future__ import annotations

import ast
import fnmatch
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from limen.activations.base import Activation
from limen.activations.registry import create, parse
from limen.activations.registry import find as find_class
from limen.errors import LimenError, SpecError

__all__ = ["Site", "SwapReport", "swap_"]

Where = str | type[nn.Module] | Callable[[str, nn.Module], bool]
"""Which modules: a path with wildcards, a class, or a predicate on (path, module)."""

REPLACED = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Hardswish, nn.Hardtanh, nn.Tanh, nn.Tanhshrink, nn.Softsign, nn.Softshrink, nn.Hardshrink,
    nn.LogSigmoid, nn.Threshold, Activation,
)  # fmt: skip
"""Module classes that count as activations, subclasses included."""

GATES = (nn.Sigmoid, nn.Hardsigmoid, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU)
"""Module classes that bound or normalise; kept unless ``where`` names them."""

FUNCTIONAL_NAMES = frozenset(
    {"relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "elu", "elu_", "selu", "celu"}
    | {"gelu", "silu", "mish", "softplus", "hardswish"}
)
"""Functions and methods that count as activations when called in a ``forward``."""


@dataclass(frozen=True)
class Site:
    """One place in the model."""

    path: str
    before: str
    after: str
    reason: str = ""
    """Why it was kept; empty for a replaced site."""


@dataclass
class SwapReport:
    """What a swap did: ``sites`` replaced, ``skipped`` with the reason, ``unreached`` function calls."""

    sites: list[Site] = field(default_factory=list)
    skipped: list[Site] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    """Functional activations seen in a ``forward``, as ``file:line: call``."""
    _originals: list[tuple[nn.Module, str, nn.Module]] = field(default_factory=list, repr=False)

    def undo(self) -> None:
        """Put the very modules back that were replaced; a second call does nothing."""
        while self._originals:
            parent, name, module = self._originals.pop()
            setattr(parent, name, module)

    def __str__(self) -> str:
        lines = [f"{len(self.sites)} replaced, {len(self.skipped)} kept, {len(self.unreached)} not reached"]
        lines += [f"  {site.path}: {site.before} -> {site.after}" for site in self.sites]
        lines += [f"  {site.path}: {site.before} kept ({site.reason})" for site in self.skipped]
        lines += [f"  not reached: {call}" for call in self.unreached]
        return "\n".join(lines)


def swap_(
    model: nn.Module,
    to: str | Callable[[], nn.Module],
    *,
    where: Where | Sequence[Where] | None = None,
    keep: Where | Sequence[Where] = (),
) -> SwapReport:
    """Replace the activations of ``model`` in place, each site by an object of its own.

    The new module takes over device, dtype, and train or eval mode; weights elsewhere are untouched.

    Args:
        to: a spec such as ``"asau:beta=2"``, or a function that makes a new module at each call.
        where: only these sites: a path with wildcards (``"layer1.*"``), a class, a predicate on
            ``(path, module)``, or several of them. A gate is replaced only if named here.
        keep: sites to leave as they are, named likewise.

    Raises:
        SpecError: for an unknown activation, or one that changes the shape of its input.
        LimenError: if the model itself is an activation, which has no parent to be replaced in.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.Sigmoid())
    >>> print(limen.swap_(model, "asau"))
    1 replaced, 1 kept, 0 not reached
      1: ReLU() -> ASAU(a=0.01, b=1, alpha=1, beta=1)
      3: Sigmoid() kept (a gate, not an activation)
    """
    if isinstance(model, (*REPLACED, *GATES)):
        raise LimenError(
            f"the model itself is the activation {type(model).__name__}, which has no parent to be replaced in; "
            "wrap it in nn.Sequential(...)."
        )
    make = _factory(to)
    only = None if where is None else _matchers(where)
    kept = _matchers(keep)
    report = SwapReport(unreached=sorted(set(functional_calls(model))))
    for path, parent, name, module in tuple(_candidates(model)):
        reason = _reason_to_keep(path, module, only, kept)
        if reason:
            report.skipped.append(Site(path, _one_line(module), _one_line(module), reason))
            continue
        new = _like(make(), module, model)
        setattr(parent, name, new)
        report._originals.append((parent, name, module))
        report.sites.append(Site(path, _one_line(module), _one_line(new)))
    return report


def _factory(to: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    if isinstance(to, nn.Module) or not (isinstance(to, str) or callable(to)):
        raise SpecError(
            f"swap_ needs a spec such as 'asau', or a function that makes a new module at each call, and {to!r} was "
            "given: one object cannot stand at several sites."
        )
    if not isinstance(to, str):
        return lambda: _made(to)
    if not find_class(parse(to)[0]).keeps_shape:
        raise SpecError(f"{to!r} changes the shape of its input, so it cannot take another activation's place.")
    create(to)  # an error in the spec is raised before anything is replaced
    return lambda: create(to)


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    """A module from the user's function, or what is wrong with it."""
    try:
        new: Any = make()
    except TypeError as error:
        raise SpecError(f"the function given to swap_ must make a module without arguments: {error}.") from error
    if not isinstance(new, nn.Module):
        raise SpecError(f"the function given to swap_ must make a module, and it made {type(new).__name__}.")
    return new


def _candidates(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    """Every (path, parent, name, module) at which an activation or a gate is registered, ties included."""
    seen: set[int] = set()
    containers = [("", model)]
    while containers:
        prefix, parent = containers.pop(0)
        if id(parent) in seen:
            continue
        seen.add(id(parent))
        for name, child in parent._modules.items():
            path = f"{prefix}{name}"
            if isinstance(child, (*REPLACED, *GATES)):
                yield path, parent, name, child  # what lies inside a mixture belongs to it
            elif child is not None:
                containers.append((f"{path}.", child))


def _reason_to_keep(
    path: str, module: nn.Module, only: list[Callable[[str, nn.Module], bool]] | None, kept: list[Any]
) -> str:
    if any(matches(path, module) for matches in kept):
        return "named by keep"
    if only is not None:
        return "" if any(matches(path, module) for matches in only) else "not named by where"
    return "a gate, not an activation" if isinstance(module, GATES) else ""


def _matchers(chosen: Where | Sequence[Where]) -> list[Callable[[str, nn.Module], bool]]:
    several: Iterable[Where] = [chosen] if isinstance(chosen, (str, type)) or callable(chosen) else chosen
    return [_matcher(one) for one in several]


def _matcher(one: Where) -> Callable[[str, nn.Module], bool]:
    if isinstance(one, str):
        return lambda path, _: fnmatch.fnmatchcase(path, one)
    if isinstance(one, type):
        return lambda _, module: isinstance(module, one)
    return one


def _like(new: nn.Module, old: nn.Module, model: nn.Module) -> nn.Module:
    """Give the new module the device, type and mode of the place it takes."""
    reference = next(
        (t for t in [*old.parameters(), *model.parameters(), *model.buffers()] if t.is_floating_point()), None
    )
    if reference is not None and not reference.is_meta:
        new = new.to(device=reference.device, dtype=reference.dtype)
    return new.train(old.training)


def _one_line(module: nn.Module) -> str:
    text = repr(module)
    return text if "\n" not in text else f"{type(module).__name__}({module.extra_repr()})"


def functional_calls(model: nn.Module) -> Iterator[str]:
    """Calls of activation functions in the source of each module's ``forward``, as ``file:line: call``.

    Functions that a module holds as an attribute, as ``nn.TransformerEncoderLayer`` does, come as ``path.attribute``.
    """
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if getattr(value, "__name__", "") in FUNCTIONAL_NAMES and not isinstance(value, nn.Module):
                yield f"{path}.{name}: {value.__name__} held as an attribute".lstrip(".")
    for cls in {type(module) for module in model.modules()}:
        if cls.__module__.startswith(("torch.nn", "limen.")):
            continue
        yield from _calls_in(cls)


def _calls_in(cls: type[nn.Module]) -> Iterator[str]:
    try:
        lines, start = inspect.getsourcelines(cls.forward)
        file = inspect.getsourcefile(cls) or "?"
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return  # no source: built in, or typed at a prompt
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called_name(node) in FUNCTIONAL_NAMES:
            yield f"{file}:{start + node.lineno - 1}: {ast.unparse(node)}"


def _called_name(call: ast.Call) -> str:
    """``relu`` for ``F.relu(x)`` and ``x.relu()``; a module called as ``self.relu(x)`` is not a function."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    if not isinstance(function, ast.Attribute):
        return ""
    owner = function.value
    return "" if isinstance(owner, ast.Name) and owner.id == "self" else function.attr
