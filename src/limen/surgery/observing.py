"""Run a model on example inputs to see what its sites receive, and which activations still run elsewhere."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from limen.surgery.flow import Channels, channels_of
from limen.surgery.known import function_name
from limen.warmstart import Arguments, call

MOST_ROWS, MOST_VALUES = 256, 2**18
"""Of a site's inputs at most so many rows, and values, are kept from each batch."""

_TORCH = str(Path(torch.__file__).parent)


@dataclass
class Seen:
    """What arrived at one site."""

    samples: list[Tensor] = field(default_factory=list)
    channels: Channels | None = None
    other: Channels | None = None
    """What also arrived where the first channels do not fit, as in a loop over layers of several widths."""


def outputs(model: nn.Module, given: list[Arguments]) -> list[Tensor]:
    """All floating-point tensors of the model's results in evaluation, without a trace in modes or random state."""
    with _quiet(model):
        return [_dense(tensor).clone() for batch in given for tensor in _tensors(_call(model, batch))]


def outputs_of_one(model: nn.Module, arguments: Arguments) -> list[Tensor]:
    """Those of one call."""
    return outputs(model, [arguments])


def observe(model: nn.Module, sites: Mapping[str, nn.Module], given: list[Arguments]) -> dict[str, Seen]:
    """What arrives at each of these modules of the model."""
    seen = {path: Seen() for path in sites}
    last: list[Channels] = []
    layers = [module for module in model.modules() if channels_of(module) is not None]
    handles = [module.register_forward_hook(lambda m, *_: last.append(channels_of(m))) for module in layers]  # type: ignore[arg-type]
    handles += [site.register_forward_pre_hook(_watcher(seen[path], last)) for path, site in sites.items()]
    try:
        with _quiet(model):
            for batch in given:
                _call(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@contextmanager
def taking_integers(sites: Mapping[str, nn.Module]) -> Iterator[set[str]]:
    """The paths of those that receive a tensor of integers meanwhile, on which no new activation is defined."""
    found: set[str] = set()

    def note(path: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor) and not inputs[0].is_floating_point():
            found.add(path)

    handles = [site.register_forward_pre_hook(partial(note, path)) for path, site in sites.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def noting_runs(sites: Mapping[str, nn.Module]) -> Iterator[set[str]]:
    """The paths of those that run meanwhile, called or by their ``forward`` alone."""
    found: set[str] = set()

    def watched(path: str, forward: Callable[..., Any], *args: Any, **named: Any) -> Any:
        found.add(path)
        return forward(*args, **named)

    for path, site in sites.items():
        vars(site)["forward"] = partial(watched, path, site.forward)
    try:
        yield found
    finally:
        for site in sites.values():
            del vars(site)["forward"]


def modules_that_run(model: nn.Module, given: list[Any]) -> set[int]:
    """The ``id`` of every module that is called in evaluation, or as in training."""
    ran: set[int] = set()
    handle = nn.modules.module.register_module_forward_pre_hook(lambda module, _: ran.add(id(module)))
    try:
        outputs(model, given)
        train_once(model, given)
    finally:
        handle.remove()
    return ran


def train_once(model: nn.Module, given: list[Any]) -> None:
    """A run as in training, as far as it comes, of which no trace is left in modes, buffers and random state."""
    try:
        with as_in_training(model):
            for batch in given:
                _call(model, batch)
    except Exception:  # a model may ask for more when it trains, as for targets; what ran before that has run
        return


def results_of(model: nn.Module, arguments: Arguments) -> list[Tensor]:
    """All floating-point tensors of the model's results, with what was recorded of them."""
    return list(_tensors(_call(model, arguments), recorded=True))


@contextmanager
def as_in_training(model: nn.Module) -> Iterator[None]:
    """Training, of which no trace is left in modes, buffers and random states."""
    buffers = [(module, name, b, b.clone()) for module in model.modules() for name, b in module._buffers.items()
               if b is not None]  # fmt: skip
    try:
        with _quiet(model), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.train()
            yield
    finally:
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                module._buffers[name] = buffer if buffer.shape == value.shape else value
                if buffer.shape == value.shape:
                    buffer.copy_(value)


def _watcher(seen: Seen, last: list[Channels]) -> Callable[..., None]:
    def watch(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0] if inputs else None
        if isinstance(x, Tensor) and x.is_floating_point():
            seen.samples.append(_some(x.detach()))
            seen.channels = seen.channels or _channels(x, last)
            if seen.channels is not None and not _fits(seen.channels, x):
                seen.other = seen.other or _channels(x, last) or Channels(x.shape[-1] if x.ndim else 1, -1)

    return watch


def _some(x: Tensor) -> Tensor:
    """Some rows, spread over the batch: enough to know the distribution by."""
    if x.ndim == 0:
        return x.clone()
    rows = max(1, min(MOST_ROWS, MOST_VALUES // max(1, x[:1].numel())))
    return x[:: max(1, -(-len(x) // rows))].clone()


def _fits(channels: Channels, x: Tensor) -> bool:
    return -x.ndim <= channels.dim < x.ndim and x.shape[channels.dim] == channels.count


def _channels(x: Tensor, last: list[Channels]) -> Channels | None:
    """As the layer that ran last has them, if the shape agrees."""
    for layer in reversed(last):
        if _fits(layer, x):
            return layer
    return Channels(x.shape[1], 1) if x.ndim in (2, 4, 5) else None


def still_running(model: nn.Module, ours: Iterable[nn.Module], known: set[str], given: list[Arguments]) -> list[str]:
    """Activation functions that a run calls outside these modules, as ``file:line: function``.

    Calls inside torch's own modules are theirs; those at a location in ``known`` are accounted for.
    """
    watch = _Watch(known)
    handles = []
    for module in ours:
        handles.append(module.register_forward_pre_hook(watch.enter))
        handles.append(module.register_forward_hook(watch.leave, always_call=True))
    try:
        with _quiet(model), watch:
            for batch in given:
                _call(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return sorted(watch.found)


class _Watch(TorchFunctionMode):
    def __init__(self, known: set[str]) -> None:
        super().__init__()
        self.known = known
        self.found: set[str] = set()
        self.inside = 0

    def enter(self, *_: Any) -> None:
        self.inside += 1

    def leave(self, *_: Any) -> None:
        self.inside -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function_name(func) or (
            func.__name__ if getattr(func, "__objclass__", None) is torch._C.TensorBase else ""
        )
        if name and not self.inside and name in _WATCHED:
            self._note(name)
        return func(*args, **(kwargs or {}))

    def _note(self, name: str) -> None:
        frame: Any = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.endswith(("torch/overrides.py", "nn/functional.py")):
            frame = frame.f_back
        if frame is None or frame.f_code.co_filename.startswith(_TORCH):
            return
        location = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if location not in self.known:
            self.found.add(f"{location}: {name}, seen while the model ran")


_WATCHED = frozenset(
    spelled
    for name in ("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
                 "softplus", "hardswish", "hardtanh", "tanh", "softsign", "sigmoid", "hardsigmoid", "softmax", "glu")
    for spelled in (name, f"{name}_")
)  # fmt: skip


def drift(before: list[Tensor], after: list[Tensor]) -> float:
    """Root mean square of the change, relative to the root mean square before; over all outputs together."""
    change = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(after, before, strict=True))
    size = sum(float(b.double().square().sum()) for b in before)
    return float((change / size) ** 0.5) if size else float(change**0.5)


@contextmanager
def _quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients, without torch's fused Transformer layers; modes and random states are put back.

    The fused layers round in another order and fill padding otherwise, and a swap switches them off.
    """
    modes = {module: module.training for module in model.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        with torch.no_grad(), _random_states():
            torch.backends.mha.set_fastpath_enabled(False)
            model.eval()
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes.items():
            module.training = training


@contextmanager
def _random_states() -> Iterator[None]:
    """torch's, Python's and NumPy's generators are afterwards as they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    state, numpy = random.getstate(), sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(state)
        if numpy:
            numpy.random.set_state(of_numpy)


def _call(model: nn.Module, batch: Arguments) -> Any:
    # A compiled model is watched uncompiled: inside its graph, modules no longer stand apart.
    return call(getattr(model, "_orig_mod", model), batch)


def _tensors(value: Any, recorded: bool = False) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value if recorded else value.detach()
        return
    if isinstance(value, Mapping):
        value = value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        value = vars(value).values()
    elif not isinstance(value, (list, tuple)):
        return
    for item in value:
        yield from _tensors(item, recorded)


def _dense(tensor: Tensor) -> Tensor:
    """With real values in plain memory, which can be compared and subtracted."""
    if tensor.is_nested:
        return torch.cat([part.reshape(-1) for part in tensor.unbind()])
    plain = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain
