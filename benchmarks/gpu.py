"""Are the adaptive activations as fast as torch's built-in ones on this GPU?  python benchmarks/gpu.py

Writes benchmarks/results/gpu.json, a row a measurement, and prints a table at the end; under 8 minutes on an H100:

- elementwise: forward, backward and both for 16, 64 and 256 million elements of float32 and bfloat16, over F.silu and
  over the device's own copying; at 64 million also eager torch and torch.compile of the plain formula; peak memory
- samples: ASH for samples of several sizes; channels: one parameter a channel in three layouts
- fused: under torch.compile between a normalisation and a sum, the kernel as one operator against the formula inlined
- calls: what a call on few elements costs the host
- step: a training step of ResNet-18 and of a ViT-S-like network in bfloat16 autocast, each activation over the original

--tiny runs the same code on a few elements, without a GPU in Triton's interpreter (TRITON_INTERPRET=1): its times mean
nothing. --sweep tries launches other than those of limen's table and prints the best.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from gpu_networks import ResNet18, ViT
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

import limen
from limen import bench
from limen.kernels import dispatch, plain
from limen.kernels.triton import launch

ACTIVATIONS = ("silu", "gelu", "swish", "mish", "apalu", "ash", "asau", "adact")
RESULTS = Path(__file__).parent / "results" / "gpu.json"
MILLION = 2**20
Row = dict[str, Any]
Mark = float | torch.Event
Lap = Callable[[], list[tuple[Mark, Mark]]]
"""Work that says where each of its phases began and ended."""
Label = TypeVar("Label", str, tuple[str, str])


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    device: str
    sizes: tuple[int, ...]
    compared: int
    """The size at which eager torch and torch.compile are measured too."""
    samples: tuple[int, ...]
    images: tuple[tuple[int, int, int, int], ...]
    tokens: tuple[int, int]
    rounds: int
    calls: int
    batch: int
    image: int
    width: int
    depth: int
    compiler: str


FULL = Scale(
    "cuda", (16 * MILLION, 64 * MILLION, 256 * MILLION), 64 * MILLION, (256, 1024, 4096, 16384, 65536, 802_816),
    ((32, 64, 112, 112), (64, 256, 28, 28), (256, 512, 7, 7)), (16384, 4096), 15, 500, 128, 224, 64, 12, "inductor",
)  # fmt: skip
TINY = Scale(
    "cpu", (128, 640), 640, (64, 2000), ((2, 4, 5, 5),), (6, 20), 1, 1, 2, 16, 2, 1, "aot_eager"
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a few elements, to see that everything runs")
    parser.add_argument(
        "--sweep", action="store_true", help="only: launches other than the table's, at 64 million elements"
    )
    parser.add_argument("--parts", default="elementwise,samples,channels,fused,calls,step", help="which, by comma")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    scale = TINY if arguments.tiny else FULL
    if torch.cuda.is_available():
        scale = dataclasses.replace(scale, device="cuda")
    elif not arguments.tiny:
        parser.error("there is no GPU that torch can use; --tiny with TRITON_INTERPRET=1 runs without one.")
    torch.manual_seed(0)
    random.seed(0)
    torch.set_float32_matmul_precision("high")
    # A kernel that could not run would otherwise be measured as torch's operators.
    warnings.filterwarnings("error", message=".*runs on torch's operators.*")
    rows: list[Row] = []
    with limen.use_backend("triton"):
        for part in ["sweep"] if arguments.sweep else arguments.parts.split(","):
            start = time.perf_counter()
            rows += [{"part": part, **row} for row in PARTS[part](scale)]
            print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            found = {"environment": bench.environment(), "rows": rows}
            arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(rows))


@dataclass
class Contender:
    """A function of x to be timed, with the parameters whose gradients it owes."""

    name: str
    path: str
    function: Callable[[Tensor], Tensor]
    parameters: Sequence[Tensor] = ()


def elementwise(scale: Scale) -> list[Row]:
    rows = []
    for dtype, size in itertools.product((torch.float32, torch.bfloat16), scale.sizes):
        x = torch.randn(64, size // 64, device=scale.device, dtype=dtype, requires_grad=True)
        contenders = [Contender("F.silu", "builtin", F.silu), Contender("F.gelu", "builtin", F.gelu)]
        for name in ACTIVATIONS:
            module = limen.create(name, device=scale.device).train()
            contenders.append(Contender(name, "limen", module, list(module.parameters())))
            if size == scale.compared:
                contenders += torchs(module, name, scale)
        rows += compare(contenders, x, scale)
    return rows


def torchs(module: limen.Activation, name: str, scale: Scale) -> list[Contender]:
    """The same formula by torch, eager and compiled."""
    bound = module.bind(training=True)

    def formula(x: Tensor) -> Tensor:
        return plain.evaluate(bound, x, module.tensors(), module.channel_dim)

    compiled = torch.compile(_apart(formula), dynamic=False, backend=scale.compiler)
    learned = list(module.parameters())
    return [Contender(name, "eager", formula, learned), Contender(name, "compile", compiled, learned)]


def samples(scale: Scale) -> list[Row]:
    rows = []
    for dtype, size in itertools.product((torch.float32, torch.bfloat16), scale.samples):
        x = torch.randn(scale.compared // size or 1, size, device=scale.device, dtype=dtype, requires_grad=True)
        module = limen.ASH(device=scale.device)
        contenders = [
            Contender("F.silu", "builtin", F.silu),
            Contender("ash", "limen", module, list(module.parameters())),
        ]
        rows += [{"sample": size, **row} for row in compare(contenders, x, scale)]
    return rows


def channels(scale: Scale) -> list[Row]:
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        inputs = [(torch.randn(shape, device=scale.device, dtype=dtype), 1, "NCHW") for shape in scale.images]
        inputs += [(x.to(memory_format=torch.channels_last), 1, "NHWC") for x, _, _ in inputs]
        inputs.append((torch.randn(scale.tokens, device=scale.device, dtype=dtype), -1, "last dimension"))
        for x, channel_dim, layout in inputs:
            contenders = [Contender("F.silu", "builtin", F.silu)]
            for name in ("swish", "apalu", "asau", "adact"):
                module = limen.create(
                    name, num_parameters=x.shape[channel_dim], channel_dim=channel_dim, device=scale.device
                ).train()
                contenders.append(Contender(name, "limen", module, list(module.parameters())))
            found = compare(contenders, x.requires_grad_(), scale)
            rows += [{"layout": layout, "shape": list(x.shape), **row} for row in found]
    return rows


def fused(scale: Scale) -> list[Row]:
    """The one choice that only measurement can make: ``dispatch.compiled_on_gpu``."""
    rows = []
    before = dispatch.compiled_on_gpu
    choices: tuple[Literal["operator", "inlined"], ...] = ("operator", "inlined")
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(scale.compared // 64, 64, device=scale.device, dtype=dtype, requires_grad=True)
        contenders = [Contender("F.silu", "builtin", F.silu)]
        for name, choice in itertools.product(("silu", "swish", "ash", "asau"), choices):
            module = limen.create(name, device=scale.device).train()
            dispatch.compiled_on_gpu = choice
            contenders.append(Contender(name, choice, _between(module, scale), list(module.parameters())))
            torch.autograd.grad(contenders[-1].function(x).sum(), x)  # compiled now, under this choice
        rows += compare(contenders, x, scale)
    dispatch.compiled_on_gpu = before
    return rows


def _between(module: limen.Activation, scale: Scale) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        activated: Tensor = module(F.layer_norm(x, x.shape[-1:]))
        return x + activated

    compiled: Callable[[Tensor], Tensor] = torch.compile(
        _apart(function), fullgraph=True, dynamic=False, backend=scale.compiler
    )
    return compiled


_number = itertools.count()


def _apart(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function with code of its own: torch.compile shares what it compiled among functions of the same code."""
    function.__code__ = function.__code__.replace(co_name=f"contender_{next(_number)}")
    return function


def calls(scale: Scale) -> list[Row]:
    """Microseconds that the host spends on a call, the device having nothing to do."""
    rows = []
    functions: dict[str, Callable[[Tensor], Tensor]] = {"F.silu": F.silu}
    functions |= {name: limen.create(name, device=scale.device).eval() for name in ACTIVATIONS}
    for recorded in (False, True):
        x = torch.randn(4, 256, device=scale.device, requires_grad=recorded)
        for name, function in functions.items():
            function(x)
            _wait(scale)
            start = time.perf_counter()
            for _ in range(scale.calls):
                function(x)
            _wait(scale)
            microseconds = 1e6 * (time.perf_counter() - start) / scale.calls
            rows.append({"activation": name, "gradients": recorded, "microseconds": round(microseconds, 2)})
    return rows


def step(scale: Scale) -> list[Row]:
    """A training step in bfloat16 autocast with each activation over the same network with its own."""
    rows = []
    networks: dict[str, Callable[[], torch.nn.Module]] = {
        "ResNet-18": lambda: ResNet18(scale.width), "ViT-S": lambda: ViT(scale.image, 6 * scale.width, scale.depth)
    }  # fmt: skip
    images = torch.randn(scale.batch, 3, scale.image, scale.image, device=scale.device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (scale.batch,), device=scale.device)
    for title, build in networks.items():
        original = convert_conv2d_weight_memory_format(build().to(scale.device), torch.channels_last)
        contenders = {"original": original}
        for name in ("silu", "swish", "ash", "asau", "apalu", "adact"):
            contenders[name] = copy.deepcopy(original)
            limen.swap_(contenders[name], name)
        steps = {name: _training_step(network, images, labels) for name, network in contenders.items()}
        memory = {name: peak_memory(run, scale) for name, run in steps.items()}
        times = interleaved({name: _whole(run, scale) for name, run in steps.items()}, scale.rounds)
        for name, found in times.items():
            ratio = statistics.median(mine[0] / its[0] for mine, its in zip(found, times["original"], strict=True))
            row = {"network": title, "activation": name, "milliseconds": _median(found, 0), "ratio": round(ratio, 3)}
            rows.append({**row, "peak MB": round(memory[name] / 1e6)})
    return rows


def _training_step(network: torch.nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    optimiser = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)

    def run() -> None:
        optimiser.zero_grad()
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(network(images), labels)
        torch.autograd.backward(loss)
        optimiser.step()

    return run


def sweep(scale: Scale) -> list[Row]:
    """Launches beside the table's: every choice for both directions, the best first."""
    rows = []
    kept = dict(launch.FAMILIES)
    (kind,) = {
        name for name, family in kept.items() if family == launch.device_of(torch.empty(1, device=scale.device)).family
    }
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(64, scale.compared // 64, device=scale.device, dtype=dtype, requires_grad=True)
        for warps, vectors, programs in itertools.product((4, 8), (1, 2, 4), (4, 8, 16, 32, 1 << 16)):
            launch.FAMILIES[kind] = dataclasses.replace(
                kept[kind], warps=warps, vectors=vectors, backward_vectors=vectors, programs=programs,
                backward_programs=min(programs, 32),
            )  # fmt: skip
            launch._device.cache_clear()
            contenders = [Contender("F.silu", "builtin", F.silu)]
            for name in ("swish", "asau"):
                module = limen.create(name, device=scale.device)
                contenders.append(Contender(name, "limen", module, list(module.parameters())))
            found = compare(contenders, x, scale)[1:]
            rows += [{"warps": warps, "vectors": vectors, "programs": programs, **row} for row in found]
    launch.FAMILIES[kind] = kept[kind]
    launch._device.cache_clear()
    return sorted(rows, key=lambda row: (row["activation"], row["dtype"], row["both_ratio"]))


PARTS: dict[str, Callable[[Scale], list[Row]]] = {
    "elementwise": elementwise, "samples": samples, "channels": channels, "fused": fused, "calls": calls, "step": step,
    "sweep": sweep,
}  # fmt: skip


def compare(contenders: list[Contender], x: Tensor, scale: Scale) -> list[Row]:
    """Time them on x and its like, interleaved; the first is what the others are compared with."""
    g, target = torch.randn_like(x), torch.empty_like(x)
    labels = [(contender.name, contender.path) for contender in contenders]
    laps: dict[tuple[str, str], Lap] = {}
    memory = {}
    for label, contender in zip(labels, contenders, strict=True):
        run = _passes(contender, x, g, scale)
        try:
            run()  # compiles
            memory[label] = peak_memory(run, scale) / (x.numel() * x.element_size())
            laps[label] = run
        except torch.OutOfMemoryError:
            print(f"{label} does not fit with {x.numel():,} elements", flush=True)
    copying = ("copy", "")
    laps[copying] = _whole(lambda: target.copy_(x.detach()), scale)
    times = interleaved(laps, scale.rounds)
    copied = _median(times.pop(copying), 0)
    return [
        _row(label, found, times[labels[0]], copied, x) | {"peak memory / input": round(memory[label], 2)}
        for label, found in times.items()
    ]


def _row(
    label: tuple[str, str], mine: list[list[float]], reference: list[list[float]], copied: float, x: Tensor
) -> Row:
    row: Row = {"activation": label[0], "path": label[1], "elements": x.numel(), "dtype": str(x.dtype)[6:]}
    # Forward moves as much as copying does, backward half as much again.
    for index, (phase, traffic) in enumerate((("forward", 1.0), ("backward", 1.5), ("both", 2.5))):
        ratio = statistics.median(a[index] / b[index] for a, b in zip(mine, reference, strict=True))
        milliseconds = _median(mine, index)
        row |= {f"{phase}_ms": milliseconds, f"{phase}_ratio": round(ratio, 3)}
        row[f"{phase}_of_copy_bandwidth"] = round(traffic * copied / max(milliseconds, 1e-9), 3)
    return row


def _passes(contender: Contender, x: Tensor, g: Tensor, scale: Scale) -> Lap:
    def run() -> list[tuple[Mark, Mark]]:
        start = _mark(scale, first=True)
        y = contender.function(x)
        middle = _mark(scale)
        torch.autograd.grad(y, [x, *contender.parameters], g)
        return [(start, middle), (middle, end := _mark(scale)), (start, end)]

    return run


def _whole(work: Callable[[], object], scale: Scale) -> Lap:
    def run() -> list[tuple[Mark, Mark]]:
        start = _mark(scale, first=True)
        work()
        return [(start, _mark(scale))]

    return run


AHEAD = 5_000_000
"""Cycles, some 3 ms, that the device is kept busy before a measurement: the host has then queued all of it."""


def _mark(scale: Scale, first: bool = False) -> Mark:
    """This moment of the device's time."""
    if scale.device == "cpu":
        return time.perf_counter()
    if first:
        _cache().zero_()  # nothing of the input is left in the device's cache
        torch._C._cuda_sleep(AHEAD)
    event: torch.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    event.record()
    return event


_buffer: list[Tensor] = []


def _cache() -> Tensor:
    if not _buffer:
        _buffer.append(torch.empty(256 * MILLION, dtype=torch.int8, device="cuda"))
    return _buffer[0]


def _milliseconds(start: Mark, end: Mark) -> float:
    if isinstance(start, float):
        assert isinstance(end, float)
        return 1000 * (end - start)
    assert not isinstance(end, float)
    return start.elapsed_time(end)


def _wait(scale: Scale) -> None:
    if scale.device != "cpu":
        torch.cuda.synchronize()


def peak_memory(run: Callable[[], object], scale: Scale) -> float:
    """Bytes allocated at the worst moment of a run, beyond what was there before."""
    if scale.device == "cpu":
        run()
        return 0.0
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def interleaved(laps: dict[Label, Lap], rounds: int) -> dict[Label, list[list[float]]]:
    """Milliseconds of each phase in each round; every round does all, in an order drawn anew."""
    found: dict[Label, list[list[float]]] = {label: [] for label in laps}
    for _ in range(rounds):
        for label in random.sample(list(laps), len(laps)):
            marks = laps[label]()
            if not isinstance(marks[0][0], float):
                torch.cuda.synchronize()
            found[label].append([_milliseconds(start, end) for start, end in marks])
    return found


def _median(found: list[list[float]], index: int) -> float:
    return round(statistics.median(lap[index] for lap in found), 4)


def table(rows: list[Row]) -> str:
    """The rows for people, a block for each part."""
    lines = []
    for part, those in itertools.groupby(rows, key=lambda row: row["part"]):
        block = [{key: value for key, value in row.items() if key != "part"} for row in those]
        heads = list(block[0])
        cells = [[str(row.get(head, "")) for head in heads] for row in block]
        widths = [max(len(head), *(len(line[i]) for line in cells)) for i, head in enumerate(heads)]
        lines += ["", part, "  ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True))]
        lines += ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
