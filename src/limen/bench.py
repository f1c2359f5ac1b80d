"""How fast each activation runs here: forward, backward, both, against what torch offers, in one interleaved run.

Every round times every contender once, in an order drawn anew and after one untimed call, and ratios are taken within a
round: they hardly depend on what else the machine is doing. A claim of speed is a row of this module's making.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.activations.base import MEMORIES
from limen.activations.registry import create
from limen.beside import GLU, NormAct
from limen.errors import SpecError
from limen.kernels import plain
from limen.kernels.dispatch import why_no_kernel
from limen.memory import require_memory

REFERENCE = "F.silu"
BUILT_IN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "mish": F.mish, "elu": F.elu, "selu": F.selu,
    "softplus": F.softplus, "leaky_relu": F.leaky_relu,
}  # fmt: skip
"""Torch's own function beside ours."""
PATHS = ("limen", "builtin", "eager", "compile")


@dataclass(frozen=True)
class Row:
    """One contender: times are medians in milliseconds, ratios medians over rounds against F.silu of the same round."""

    activation: str
    path: str
    """``limen`` (what a module runs), ``builtin`` (torch's own), ``eager`` (the plain formula), ``compile`` (the plain
    formula under torch.compile)."""
    elements: int
    dtype: str
    device: str
    threads: int
    forward_ms: float
    backward_ms: float
    both_ms: float
    forward_ratio: float
    backward_ratio: float
    both_ratio: float
    saved_ratio: float
    """Bytes saved for the backward pass over the bytes of the input."""

    def as_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Bandwidth:
    """What the device's memory does: bytes a second, read and written, of copying a tensor of the same size."""

    gigabytes_per_second: float


MOST_ROUNDS = 10_000
TENSORS = 5
"""Input, output, what is saved, and a gradient of each end: the least that a call and its backward pass hold."""
Listener = Callable[[int, int, str], None]
"""Called as ``listener(done, total, what)``."""


def measure(
    activations: Sequence[str],
    *,
    elements: int = 4_000_000,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    rounds: int = 15,
    paths: Sequence[str] = ("limen", "builtin", "eager", "compile"),
    listener: Listener = lambda done, total, what: None,
) -> tuple[list[Row], Bandwidth]:
    """Time the activations, forward and backward with all parameter gradients.

    >>> rows, _ = measure(["swish"], elements=1000, rounds=2, paths=["limen"])
    >>> [(row.activation, row.path, round(row.saved_ratio, 2)) for row in rows]
    [('F.silu', 'builtin', 1.0), ('swish', 'limen', 1.0)]
    """
    check_size(elements, dtype, rounds)
    x = torch.randn(64, elements // 64, dtype=dtype, device=device, requires_grad=True)
    g = torch.randn_like(x)
    contenders = _contenders(activations, paths, device)
    total = len(contenders) + rounds
    for done, contender in enumerate(contenders):
        listener(done, total, f"preparing {contender.activation} ({contender.path})")
        contender.prepare(x, g)
    times = torch.zeros(rounds, len(contenders), 3, dtype=torch.float64)
    for index in range(rounds):
        listener(len(contenders) + index, total, f"round {index + 1} of {rounds}")
        for turn in torch.randperm(len(contenders)).tolist():
            contenders[turn].time(x, g)  # finds the allocator as the one before left it; the next call, as it left it
            times[index, turn] = torch.tensor(contenders[turn].time(x, g), dtype=torch.float64)
    listener(total, total, "done")
    return [contender.row(times[:, i], times[:, 0], x) for i, contender in enumerate(contenders)], _bandwidth(x)


def check_size(elements: int, dtype: torch.dtype, rounds: int) -> None:
    """Raise for what cannot be timed here.

    Raises:
        SpecError: for less than 64 elements, or a number of rounds that is not possible.
        TooLargeError: for more elements than memory can hold.

    >>> check_size(1000, torch.float32, 2)
    """
    if elements < 64:
        raise SpecError(f"elements={elements} must be at least 64, one for each of 64 samples.")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise SpecError(f"rounds={rounds} must be from 1 to {MOST_ROUNDS:,}.")
    require_memory(TENSORS * elements * dtype.itemsize, f"timing {elements:,} elements", "take fewer elements")


BESIDE = ("glu", "norm", "mlp")
"""What can stand beside an activation."""
BESIDE_ACTIVATIONS = ("silu", "swish", "asau", "ash", "adact")
_ROWS, _COLUMNS = 2048, 512
_MAPS = (64, 64, 32, 32)
_WIDTH, _HIDDEN = 128, 512
BUDGET = 2**30
"""Bytes that a batch may take of what is kept between the passes, where the largest is asked for."""


@dataclass(frozen=True)
class BesideRow:
    """One contender of what stands beside an activation; ratios are medians over rounds against the first one."""

    what: str
    contender: str
    threads: int
    forward_ms: float
    backward_ms: float
    both_ms: float
    both_ratio: float
    saved_ratio: float
    """Bytes kept for the backward pass over those of one input."""
    copies: float
    """How often one input is copied in the same time."""
    largest_batch: int = 0
    """Of how many samples all that is kept takes ``BUDGET``."""

    def as_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Beside:
    what: str
    contender: str
    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    g: Tensor
    unit: int = 0
    """Bytes of what tensors that are kept are counted in; those of the gradient where it is 0."""

    def time(self) -> tuple[float, float, float]:
        """Seconds of forward, backward and both."""
        start = _now(self.g)
        y = self.function(*self.inputs)
        middle = _now(self.g)
        torch.autograd.grad(y, [*self.inputs, *self.parameters], self.g)
        end = _now(self.g)
        return middle - start, end - middle, end - start

    def kept(self) -> int:
        """Bytes kept for the backward pass, without parameters."""
        return saved_bytes(lambda x: self.function(x, *self.inputs[1:]), self.inputs[0], self.parameters)


def measure_beside(
    kind: str,
    activations: Sequence[str] = BESIDE_ACTIVATIONS,
    *,
    rounds: int = 15,
    listener: Listener = lambda *_: None,
) -> tuple[list[BesideRow], Bandwidth]:
    """Time gates (``glu``), norms (``norm``) or two layers (``mlp``) with activations, interleaved, against torch's.

    >>> rows, _ = measure_beside("norm", ["relu"], rounds=1)
    >>> [row.contender for row in rows][:2]
    ['BatchNorm2d, ReLU', 'NormAct(relu)']
    """
    if kind not in BESIDE:
        raise SpecError(f"nothing called {kind!r} stands beside an activation; there are {', '.join(BESIDE)}.")
    check_size(_ROWS * _COLUMNS, torch.float32, rounds)
    contenders = {"glu": _gates, "norm": _norms, "mlp": _layers}[kind](activations)
    for done, contender in enumerate(contenders):
        listener(done, len(contenders) + rounds, f"preparing {contender.contender}")
        contender.time()
    times = torch.zeros(rounds, len(contenders), 3, dtype=torch.float64)
    copies = torch.zeros(rounds, dtype=torch.float64)
    for index in range(rounds):
        listener(len(contenders) + index, len(contenders) + rounds, f"round {index + 1} of {rounds}")
        for turn in torch.randperm(len(contenders)).tolist():
            contenders[turn].time()
            times[index, turn] = torch.tensor(contenders[turn].time(), dtype=torch.float64)
        copies[index] = _copying(contenders[0].g)
    firsts = {contender.what: place for place, contender in reversed(list(enumerate(contenders)))}
    rows = [
        _beside_row(contender, times[:, place], times[:, firsts[contender.what]], copies)
        for place, contender in enumerate(contenders)
    ]
    return rows, _bandwidth(contenders[0].g)


def _copying(x: Tensor) -> float:
    target = torch.empty_like(x)
    start = _now(x)
    target.copy_(x)
    return _now(x) - start


def _beside_row(contender: _Beside, mine: Tensor, first: Tensor, copies: Tensor) -> BesideRow:
    forward, backward, both = (1000 * mine).median(0).values.tolist()
    ratio = (mine[:, 2] / first[:, 2]).median().item()
    kept = contender.kept()
    saved = kept / (contender.unit or contender.g.numel() * contender.g.element_size())
    largest = BUDGET * len(contender.g) // max(kept, 1)
    moved = (mine[:, 2] / copies).median().item()
    threads = torch.get_num_threads()
    of = contender.what, contender.contender, threads
    return BesideRow(*of, forward, backward, both, ratio, saved, moved, largest)


def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


def _gates(activations: Sequence[str]) -> list[_Beside]:
    gate, up = (torch.randn(_ROWS, _COLUMNS, requires_grad=True) for _ in range(2))
    both, g = torch.randn(_ROWS, 2 * _COLUMNS, requires_grad=True), torch.randn(_ROWS, _COLUMNS)
    compiled: Any = torch.compile(_swiglu)
    found = [_Beside("glu", "torch.compile(F.silu(gate) * up)", compiled, (gate, up), (), g)]
    found.append(_Beside("glu", "F.silu(gate) * up", _swiglu, (gate, up), (), g))
    for spec in activations:
        for packed in (False, True):
            module = GLU(spec, packed=packed)
            inputs = (both,) if packed else (gate, up)
            name = f"GLU({spec}{', packed' if packed else ''})"
            found.append(_Beside("glu", name, module, inputs, tuple(module.parameters()), g))
    return found


def _norms(activations: Sequence[str]) -> list[_Beside]:
    found = []
    for layout, kind in (("channels last", torch.channels_last), ("NCHW", torch.contiguous_format)):
        x = torch.randn(_MAPS).to(memory_format=kind).requires_grad_()
        g, channels = torch.randn_like(x.detach()), _MAPS[1]
        pair: Any = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        contenders = [("BatchNorm2d, ReLU", pair)]
        contenders += [(f"NormAct({spec})", NormAct(nn.BatchNorm2d(channels), spec)) for spec in ("relu", *activations)]
        for name, module in contenders:
            found.append(_Beside(f"norm, {layout}", name, module, (x,), tuple(module.parameters()), g))
    return found


def _layers(activations: Sequence[str]) -> list[_Beside]:
    """Linear, activation, Linear, with each way of keeping what the backward pass needs."""
    x, g = torch.randn(_ROWS, _WIDTH, requires_grad=True), torch.randn(_ROWS, _WIDTH)
    first, last = nn.Linear(_WIDTH, _HIDDEN), nn.Linear(_HIDDEN, _WIDTH)
    middles: list[tuple[str, nn.Module]] = [("nn.ReLU", nn.ReLU()), ("nn.SiLU", nn.SiLU())]
    middles += [
        (spec if memory == "exact" else f"{spec}, memory={memory!r}", create(spec, memory=memory))
        for spec in activations
        for memory in MEMORIES
    ]
    found = []
    for name, middle in middles:
        module: Any = nn.Sequential(first, middle, last)
        found.append(_Beside("mlp", name, module, (x,), tuple(module.parameters()), g, 4 * _ROWS * _HIDDEN))
    return found


def table_beside(rows: Sequence[BesideRow], bandwidth: Bandwidth) -> str:
    """The rows for people: one line a contender, ratios to the first of its kind.

    >>> row = BesideRow("glu", "GLU(silu)", 1, 1.0, 2.0, 3.0, 0.9, 2.0, 6.0, 900)
    >>> print(table_beside([row], Bandwidth(10.0)).splitlines()[1][21:])
    GLU(silu)                              1.00      2.00      3.00    0.90     2.00     6.0      900
    """
    head = f"{'what':<20} {'contender':<34} {'fwd ms':>8} {'bwd ms':>9} {'both ms':>9}"
    lines = [f"{head} {'both ×':>7} {'saved ×':>8} {'copies':>7} {'batch':>8}"]
    lines += [
        f"{row.what:<20} {row.contender:<34.34} {row.forward_ms:>8.2f} {row.backward_ms:>9.2f} {row.both_ms:>9.2f} "
        f"{row.both_ratio:>7.2f} {row.saved_ratio:>8.2f} {row.copies:>7.1f} {row.largest_batch:>8}"
        for row in rows
    ]
    lines.append(
        f"float32, {rows[0].threads} threads; copying moves {bandwidth.gigabytes_per_second:.1f} GB/s. × is relative "
        "to the first of its kind in the same round, saved × to one input (mlp: to the hidden layer), copies to "
        "copying one input; a batch of so many samples keeps 1 GiB."
    )
    return "\n".join(lines)


class _Contender:
    def __init__(self, activation: str, path: str, function: Callable[[Tensor], Tensor], parameters: Sequence[Tensor]):
        self.activation, self.path, self.function, self.parameters = activation, path, function, list(parameters)
        self.saved = 0

    def prepare(self, x: Tensor, g: Tensor) -> None:
        """Compile whatever is compiled, and count what is saved."""
        for _ in range(2):
            self.time(x, g)
        self.saved = saved_bytes(self.function, x)

    def time(self, x: Tensor, g: Tensor) -> tuple[float, float, float]:
        """Seconds of forward, backward and both."""
        start = _now(x)
        y = self.function(x)
        middle = _now(x)
        torch.autograd.grad(y, [x, *self.parameters], g)
        end = _now(x)
        return middle - start, end - middle, end - start

    def row(self, mine: Tensor, reference: Tensor, x: Tensor) -> Row:
        forward_ratio, backward_ratio, both_ratio = (mine / reference).median(0).values.tolist()
        forward_ms, backward_ms, both_ms = (1000 * mine).median(0).values.tolist()
        return Row(
            activation=self.activation,
            path=self.path,
            elements=x.numel(),
            dtype=str(x.dtype).removeprefix("torch."),
            device=str(x.device),
            threads=torch.get_num_threads(),
            forward_ms=forward_ms,
            backward_ms=backward_ms,
            both_ms=both_ms,
            forward_ratio=forward_ratio,
            backward_ratio=backward_ratio,
            both_ratio=both_ratio,
            saved_ratio=self.saved / (x.numel() * x.element_size()),
        )


def _contenders(activations: Sequence[str], paths: Sequence[str], device: str) -> list[_Contender]:
    unknown = [path for path in paths if path not in PATHS]
    if unknown:
        raise SpecError(f"no path is called {unknown[0]!r}; there are {', '.join(PATHS)}.")
    found = [_Contender(REFERENCE, "builtin", F.silu, [])]
    for spec in activations:
        module = create(spec, device=device).train()
        if not module.keeps_shape:
            raise SpecError(f"{spec!r} changes the shape of its input, so it is not compared.")
        learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for path in paths:
            if path == "builtin" and spec in BUILT_IN:
                found.append(_Contender(spec, path, BUILT_IN[spec], []))
            elif path == "limen":
                found.append(_Contender(spec, path, module, learned))
            elif path in ("eager", "compile"):
                function = _plain(module)
                run = torch.compile(function) if path == "compile" else function
                found.append(_Contender(spec, path, run, learned))
    return found


def _plain(module: Any) -> Callable[[Tensor], Tensor]:
    """The module's formula on torch's operators."""
    bound = module.bind(training=module.training)

    def function(x: Tensor) -> Tensor:
        return plain.evaluate(bound, x, module.tensors(), module.channel_dim)

    return function


def saved_bytes(function: Callable[[Tensor], Tensor], x: Tensor, without: Sequence[Tensor] = ()) -> int:
    """Bytes that autograd keeps for the backward pass of ``function(x)``, each piece of memory counted once.

    Those of the tensors of ``without`` are left out.

    >>> saved_bytes(torch.sigmoid, torch.zeros(10, requires_grad=True))
    40
    """
    storages: dict[int, int] = {}
    others = {tensor.untyped_storage().data_ptr() for tensor in without}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        function(x)
    return sum(size for place, size in storages.items() if place not in others)


def _bandwidth(x: Tensor) -> Bandwidth:
    source, target = x.detach(), torch.empty_like(x)
    seconds = []
    for _ in range(10):
        start = _now(x)
        target.copy_(source)
        seconds.append(_now(x) - start)
    return Bandwidth(2 * x.numel() * x.element_size() / min(seconds) / 1e9)


def _now(x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()


def kernel_notes(activations: Sequence[str], device: str = "cpu") -> list[str]:
    """For each activation that has no kernel on the device, a sentence that says why."""
    reasons = {spec: why_no_kernel(create(spec).bind(training=True), device) for spec in activations}
    return [f"{spec} runs on torch's operators: {reason}" for spec, reason in reasons.items() if reason]


def environment() -> dict[str, str]:
    """What the numbers were measured on: versions, processor, compiler."""
    from limen.kernels.c.build import NoCompilerError, find_compiler

    try:
        compiler = find_compiler()
        built_with = f"{compiler.version} {' '.join(compiler.flags)}"
    except NoCompilerError as error:
        built_with = str(error)
    return {
        "torch": torch.__version__,
        "processor": _processor(),
        "compiler": built_with,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _processor() -> str:
    """The model of the processor, where the system says it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return f"{models[0]}, {len(models)} cores" if models else platform.processor() or platform.machine()


def table(rows: Sequence[Row], bandwidth: Bandwidth) -> str:
    """The rows for people: one line a contender, ratios to F.silu.

    >>> row = Row("swish", "limen", 64, "float32", "cpu", 1, 1.0, 2.0, 3.0, 1.1, 0.9, 1.0, 1.0)
    >>> print(table([row], Bandwidth(10.0)).splitlines()[1])
    swish            limen          1.00      2.00      3.00    1.10    0.90    1.00     1.00
    """
    head = f"{'activation':<16} {'path':<10} {'fwd ms':>8} {'bwd ms':>9} {'both ms':>9}"
    lines = [f"{head} {'fwd ×':>7} {'bwd ×':>7} {'both ×':>7} {'saved ×':>8}"]
    lines += [
        f"{row.activation:<16.16} {row.path:<10} {row.forward_ms:>8.2f} {row.backward_ms:>9.2f} "
        f"{row.both_ms:>9.2f} {row.forward_ratio:>7.2f} {row.backward_ratio:>7.2f} {row.both_ratio:>7.2f} "
        f"{row.saved_ratio:>8.2f}"
        for row in rows
    ]
    first = rows[0]
    lines.append(
        f"{first.elements:,} elements of {first.dtype} on {first.device}, {first.threads} threads; copying them moves "
        f"{bandwidth.gigabytes_per_second:.1f} GB/s. × is relative to F.silu in the same round; saved × to the input."
    )
    return "\n".join(lines)
