"""Models in which no output may depend on what comes later, and activations that would let it.

Statistics over a whole sample hand every position something of all the others. In a decoder, earlier logits would move
with later tokens, in training too, and a pass with a key-value cache would differ from one without. So where a model
shows that it is causal, such activations take their statistics within each token, unless their context was named.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.activations.fields import ChannelAxis, StatisticsContext
from limen.activations.mixture import AdAct
from limen.surgery.reading import Reading
from limen.warmstart import Arguments

Run = Callable[[nn.Module, Arguments], list[Tensor]]

_DECLARED = ("is_causal", "causal")
"""Attributes by which attention says whether it looks ahead."""
_TRIANGLES = frozenset({"tril", "tril_", "triu", "triu_"})
_CACHES = frozenset({"past_key_values", "past_key_value", "layer_past", "kv_cache", "use_cache"})
_STATE = "_is_stateful"
"""What Transformers calls models that hand a state from token to token."""


@dataclass
class Causality:
    """Where a model is causal, and what the new activations make of that."""

    model: nn.Module
    readings: Mapping[int, Reading]
    free: bool
    """Whether nobody named a context, so that it may be chosen here."""
    given: list[Arguments]
    run: Run
    within_tokens: dict[str, str] = field(default_factory=dict)
    """Sites whose context was chosen, and what shows that the model is causal there."""
    across_tokens: dict[str, str] = field(default_factory=dict)
    """Sites with statistics over other tokens, and the same, or nothing where nothing shows it."""
    _marks: dict[str, str] | None = None
    _axis: int | None = None

    def settle(self, path: str, new: nn.Module) -> None:
        """Choose the context of a new activation, or note that it lets later tokens through."""
        statistical = [part for part in new.modules() if isinstance(part, Activation) and _is_statistical(part)]
        if not statistical:
            return
        why = self._why(path)
        if why and self.free:
            for activation in statistical:
                _within_token(activation)
        if any(map(_crosses_tokens, statistical)):
            self.across_tokens[path] = why
        elif why and self.free:
            self.within_tokens[path] = why

    def notes(self) -> list[str]:
        """What the report is to say; asked when the new activations are in their places."""
        found = []
        if self.within_tokens:
            found.append(
                f"context='token' at {_listed(self.within_tokens)}, so that the model stays causal: "
                f"{next(iter(self.within_tokens.values()))}"
            )
        known = {path: why for path, why in self.across_tokens.items() if why}
        if known:
            found.append(
                f"the model stops being causal: {next(iter(known.values()))}, and the statistics at {_listed(known)} "
                'take in later tokens; a pass with a cache differs from one without; context="token" keeps it causal'
            )
        if self._axis is not None and not known and causal_axis(self.model, self.given[0], self.run) is None:
            found.append(
                "the model stops being causal: on the example inputs later values now move earlier outputs; "
                'context="token" keeps it causal where the last axis holds the features, elsewhere keep these sites'
            )
        return found

    def _why(self, path: str) -> str:
        """What shows that a site is in a causal part: the nearest module around it that has marks decides."""
        if self._marks is None:
            self._marks = marks(self.model, self.readings)
            if self.given:
                self._axis = causal_axis(self.model, self.given[0], self.run)
        names = path.split(".")[:-1]
        for depth in range(len(names), -1, -1):
            around = ".".join(names[:depth])
            inside = [why for at, why in self._marks.items() if f"{at}.".startswith(f"{around}." if around else "")]
            if inside:
                return next(filter(None, inside), "")
        return "the example inputs show that no output depends on later ones" if self._axis == 1 else ""


def _is_statistical(activation: Activation) -> bool:
    """Whether it takes statistics itself; a mixture's candidates stand for themselves."""
    across_channels = any(isinstance(kind, ChannelAxis) for kind in activation.fields.values())
    return not (activation.elementwise or across_channels or isinstance(activation, AdAct))


def _crosses_tokens(activation: Activation) -> bool:
    """Whether its statistics take in other tokens; those by channel do not where axis 1 holds the tokens."""
    contexts = activation.bind(training=False).contexts
    if not contexts:
        return True
    return any(c.kind == "sample" or (c.kind == "channel" and c.channel_dim != 1) for c in contexts)


def _within_token(activation: Activation) -> None:
    for name, kind in activation.fields.items():
        if isinstance(kind, StatisticsContext):
            setattr(activation, name, "token")


def marks(model: nn.Module, readings: Mapping[int, Reading]) -> dict[str, str]:
    """By path what says of a module that it is causal; empty where a module says that it is not.

    What attention declares outranks what the sources around it show, which may be of a branch not taken.
    """
    modules = dict(model.named_modules())
    found = {}
    for path, module in modules.items():
        declared = _declared(module)
        if declared is not None:
            found[path] = f"{path or type(module).__name__} says {declared[0]}=True" if declared[1] else ""
        elif triangle := _triangle(module):
            found[path] = f"{f'{path}.' if path else ''}{triangle} is a causal mask"
    for path, module in modules.items():
        if not any(f"{at}.".startswith(f"{path}." if path else "") for at in found):
            shown = _shown(module, readings.get(id(module)))
            if shown:
                found[path] = f"{path or type(module).__name__} {shown}"
    return found


def _declared(module: nn.Module) -> tuple[str, bool] | None:
    for name in _DECLARED:
        value = vars(module).get(name, vars(type(module)).get(name))
        if isinstance(value, bool):
            return name, value
    return None


def _triangle(module: nn.Module) -> str:
    """The name of a tensor, not a parameter, that holds one value on and below its diagonal and another above."""
    held = [*module._buffers.items(), *vars(module).items()]
    return next((name for name, value in held if isinstance(value, Tensor) and _is_triangle(value)), "")


def _is_triangle(mask: Tensor) -> bool:
    size = mask.shape[-1] if mask.ndim > 1 else 0
    if not size or mask.shape[-2] != size or mask.numel() != size * size or mask.is_meta:
        return False
    mask = mask.detach().reshape(size, size)
    below, above = mask[0, 0], mask[0, -1]
    return bool(below != above) and torch.equal(
        mask, torch.where(mask.new_ones(size, size).tril().bool(), below, above)
    )


def _shown(module: nn.Module, reading: Reading | None) -> str:
    """What the sources of a module's functions show."""
    if getattr(type(module), _STATE, False) is True:
        return "keeps a state from token to token"
    for body in reading.bodies if reading is not None else ():
        arguments = body.source.node.args
        for argument in (*arguments.args, *arguments.kwonlyargs):
            if argument.arg in _CACHES:
                return f"takes {argument.arg}"
        for node in ast.walk(body.source.node):
            if isinstance(node, ast.Call) and (said := _said(node, body.scope.resolve)):
                return said
    return ""


def _said(call: ast.Call, resolve: Callable[[ast.AST], Any]) -> str:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name in _TRIANGLES or ("mask" in name and ("causal" in name or "subsequent" in name)):
        return f"calls {name}"
    asked = any(keyword.arg in _DECLARED and resolve(keyword.value) is True for keyword in call.keywords)
    return f"calls {name} with is_causal=True" if asked else ""


def causal_axis(model: nn.Module, given: Arguments, run: Run) -> int | None:
    """The axis of the input along which later values leave earlier outputs alone, and earlier ones move later ones."""
    before = run(model, given)
    for axis in (1, 2):
        later, earlier = _altered(given, axis, later=True), _altered(given, axis, later=False)
        if later is None or earlier is None or not before:
            continue
        (changed, length), half = later, later[1] // 2
        out = before[0]
        if out.ndim <= axis or out.shape[axis] != length:
            continue
        ahead = _moves(out, run(model, changed)[0], axis, 0, half)
        if not ahead and _moves(out, run(model, earlier[0])[0], axis, half, length - half):
            return axis
    return None


def _moves(before: Tensor, after: Tensor, axis: int, start: int, length: int) -> bool:
    """Whether a part of an output differs by more than rounding."""
    if before.shape != after.shape:
        return True
    change = (after.narrow(axis, start, length) - before.narrow(axis, start, length)).abs().max()
    return bool(change > 64 * torch.finfo(before.dtype).eps * before.abs().max())


def _altered(given: Arguments, axis: int, *, later: bool) -> tuple[Arguments, int] | None:
    """The same call with one half of its first input changed, and the length of the axis."""
    named = dict(given.named)
    places: list[tuple[Any, Any]] = [*enumerate(given.positional), *named.items()]
    for place, value in places:
        masks = isinstance(place, str) and "mask" in place
        if masks or not isinstance(value, Tensor) or value.dtype == torch.bool or value.ndim <= axis:
            continue
        length = value.shape[axis]
        if length < 2:
            return None
        half = length // 2
        changed = value.clone()
        part = changed.narrow(axis, half, length - half) if later else changed.narrow(axis, 0, half)
        part.copy_(_other(part, value))
        positional = tuple(changed if index == place else one for index, one in enumerate(given.positional))
        return Arguments(positional, {name: changed if name == place else one for name, one in named.items()}), length
    return None


def _other(part: Tensor, whole: Tensor) -> Tensor:
    """Other values of the kind: of integers, which may be indices, none that does not occur."""
    if whole.is_floating_point() or whole.is_complex():
        return 0.5 - part
    values = whole.flatten().sort().values
    return values[torch.searchsorted(values, part.contiguous(), right=True) % len(values)]


def _listed(paths: Iterable[str]) -> str:
    names = [path or "(the model)" for path in paths]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
