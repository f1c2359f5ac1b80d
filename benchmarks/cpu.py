"""Are the adaptive activations as fast as torch's built-in ones on this CPU?  python benchmarks/cpu.py

Writes benchmarks/results/cpu.json and prints the tables: forward, backward and both for 4 million elements in float32
and bfloat16 against F.silu, F.mish, eager torch and torch.compile; the overhead of a call on 64 elements; ASH on many
small samples (--samples: these alone); and a training step of ResNet-20 (batch 64, 3x32x32, channels-last) with each
activation against torch.nn.ReLU. --quick leaves torch.compile out, which takes most of the time.

Freed memory is kept by the allocator (glibc's), as it is in a process that has run for a while. Otherwise every large
result may or may not be made of fresh pages, whose price, twice that of F.silu itself, hides what is compared.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

import limen
from limen import bench
from limen.lab.networks import build
from limen.writing import write_atomically

ACTIVATIONS = ("swish", "mish", "apalu", "ash", "adact", "asau")
RESULTS = Path(__file__).parent / "results" / "cpu.json"
SAMPLES_ALONE = RESULTS.with_name("small_samples.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without torch.compile")
    parser.add_argument("--samples", action="store_true", help="small samples only, into small_samples.json")
    parser.add_argument("--markdown", action="store_true", help="measure nothing: print the README's table of --out")
    parser.add_argument("--elements", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.markdown:
        print(markdown(json.loads(arguments.out.read_text(encoding="utf-8"))))
        return
    keep_freed_memory()
    torch.manual_seed(0)
    found: dict[str, object]
    if arguments.samples:
        found = {"environment": bench.environment(), "threads": torch.get_num_threads()}
        found["small samples"] = small_samples(arguments.elements, arguments.rounds)
        print(json.dumps(found, indent=1))
        target = SAMPLES_ALONE if arguments.out == RESULTS else arguments.out
        write_atomically(target, json.dumps(found, indent=1) + "\n")
        return
    paths = [path for path in bench.PATHS if path != "compile" or not arguments.quick]
    found = {"environment": bench.environment(), "threads": torch.get_num_threads()}
    for dtype, those in ((torch.float32, paths), (torch.bfloat16, ["limen", "builtin"])):
        rows, bandwidth = bench.measure(
            ACTIVATIONS, elements=arguments.elements, dtype=dtype, rounds=arguments.rounds, paths=those
        )
        print(bench.table(rows, bandwidth), "\n")
        found[f"elementwise {rows[0].dtype}"] = [row.as_dict() for row in rows]
        found[f"copy GB/s {rows[0].dtype}"] = bandwidth.gigabytes_per_second
    found["overhead"] = overhead()
    found["small samples"] = small_samples(arguments.elements, arguments.rounds)
    found["resnet20"] = resnet20()
    for title in ("overhead", "small samples", "resnet20"):
        print(title, json.dumps(found[title], indent=1), "\n")
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


def markdown(found: dict[str, Any]) -> str:
    """The table of the README, from the rows of one run."""
    lines = [
        "| | time ÷ `F.silu` | `torch.compile` takes | eager torch takes | bfloat16 ÷ `F.silu` "
        "| ResNet-20 step ÷ `nn.ReLU` | a call on 64 numbers ÷ `F.silu`; recorded |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = {(row["activation"], row["path"]): row for row in found["elementwise float32"]}
    half = {(row["activation"], row["path"]): row for row in found["elementwise bfloat16"]}
    steps = {row["activation"]: row["ratio"] for row in found["resnet20"]}
    calls = {(row["activation"], row["gradients"]): row["ratio"] for row in found["overhead"]}
    for name in ACTIVATIONS:
        ours = rows[name, "limen"]
        longer = [f"{rows[name, path]['both_ms'] / ours['both_ms']:.2g}" for path in ("compile", "eager")]
        lines.append(
            f"| {name} | {ours['both_ratio']:.2f} | {longer[0]} times as long | {longer[1]} times as long "
            f"| {half[name, 'limen']['both_ratio']:.2f} | {f'{steps[name]:.2f}' if name in steps else '–'} "
            f"| {calls[name, 'off']:.1f}; {calls[name, 'recorded']:.1f} |"
        )
    return "\n".join(lines)


def keep_freed_memory() -> None:
    """Have glibc neither map large blocks one by one nor give free memory back; elsewhere nothing is changed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


def overhead(elements: int = 64, calls: int = 2000, rounds: int = 15) -> list[dict[str, float | str]]:
    """Time of a call on a few elements over F.silu's, without and with gradients recorded."""
    found: list[dict[str, float | str]] = []
    modules = {name: limen.create(name).eval() for name in ("silu", *ACTIVATIONS)}
    for recorded in (False, True):
        x = torch.randn(4, elements // 4, requires_grad=recorded)
        contenders: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"F.silu": F.silu, **modules}
        with torch.set_grad_enabled(recorded):
            times = interleaved({name: _calls(run, x, calls) for name, run in contenders.items()}, rounds)
        for name, seconds in times.items():
            ratio = statistics.median(mine / its for mine, its in zip(seconds, times["F.silu"], strict=True))
            found.append(
                {
                    "activation": name,
                    "gradients": "recorded" if recorded else "off",
                    "microseconds": round(1e6 * statistics.median(seconds) / calls, 2),
                    "ratio": round(ratio, 2),
                }
            )
    return found


def _calls(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, calls: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(calls):
            run(x)

    return work


SAMPLES = (1, 4, 16, 33, 64, 256)


def small_samples(elements: int, rounds: int) -> list[dict[str, float | str]]:
    """Forward and backward of ASH on so many values a sample, and on tokens and maps of 64, over F.silu's."""
    cases: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
        f"{size} values": ((elements // size, size), {}) for size in SAMPLES
    }
    cases["tokens of 64"] = (elements // 65536, 1024, 64), {"context": "token"}
    cases["maps of 8x8"] = (elements // 65536, 1024, 8, 8), {"context": "channel", "num_parameters": 1024}
    found: list[dict[str, float | str]] = []
    for name, (shape, named) in cases.items():
        x, g = torch.randn(shape, requires_grad=True), torch.randn(shape)
        contenders: dict[str, Callable[[], None]] = {
            "ash": _both_ways(limen.ASH(**named), x, g),
            "F.silu": _both_ways(F.silu, x, g),
        }
        times = interleaved(contenders, rounds)
        ratio = statistics.median(mine / its for mine, its in zip(times["ash"], times["F.silu"], strict=True))
        least = min(times["ash"]) / min(times["F.silu"])
        found.append({"samples": name, "ratio": round(ratio, 2), "ratio of the fastest": round(least, 2)})
    return found


def _both_ways(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, g: torch.Tensor) -> Callable[[], None]:
    learned = tuple(run.parameters()) if isinstance(run, torch.nn.Module) else ()

    def work() -> None:
        torch.autograd.grad(run(x), [x, *learned], g)

    return work


def resnet20(batch: int = 64, rounds: int = 15) -> list[dict[str, float | str]]:
    """A training step of ResNet-20 with each activation over the same network with torch.nn.ReLU."""
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    original = convert_conv2d_weight_memory_format(build("resnet20", (3, 32, 32), 10, seed=0), torch.channels_last)
    networks = {"torch.nn.ReLU": original}
    for name in ("relu", "swish", "ash", "asau", "apalu", "adact"):
        networks[name] = copy.deepcopy(original)
        limen.swap_(networks[name], name)
    steps = {name: training_step(network, images, labels) for name, network in networks.items()}
    times = interleaved(steps, rounds)
    reference = times["torch.nn.ReLU"]
    return [
        {
            "activation": name,
            "milliseconds": round(1000 * statistics.median(seconds), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(seconds, reference, strict=True)), 3),
        }
        for name, seconds in times.items()
    ]


def training_step(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)

    def step() -> None:
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), labels))
        optimiser.step()

    return step


def interleaved(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round; every round does all of them, in an order drawn anew."""
    for run in work.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    names = list(work)
    for _ in range(rounds):
        for name in random.sample(names, len(names)):
            start = time.perf_counter()
            work[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
