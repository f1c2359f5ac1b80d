"""The kernels that a wheel brings: all that limen's own activations call, built for kinds of processors.

    python -m limen.shipping build/kernels

One file is compiled for each kernel, many at a time, and all are linked into one library for each kind of processor.
What is built is for a kind, such as x86-64-v3 (AVX2 and FMA), where `limen warm` builds for the one at hand. Processors
older than that compile for themselves.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from limen.activations.registry import create, names
from limen.errors import LimenError
from limen.kernels.c import calls, shipped, short_calls
from limen.kernels.c.compiler import FLAGS
from limen.kernels.call import Call, prepare
from limen.warming import CHANNELS, DTYPES, calls_of
from limen.warming import Call as Meeting

TARGETS = {
    "x86-64-v3": ("-march=x86-64-v3",),
    "x86-64-v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "aarch64": (),
}
TYPES = ("float32", "bfloat16")
"""With float16 as well the wheel for x86-64 would be about 5 MB, and not 3.5."""
ZIG = {
    "x86-64-v3": ("-target", "x86_64-linux-gnu.2.17", "-mcpu=x86_64_v3"),
    "x86-64-v4": ("-target", "x86_64-linux-gnu.2.17", "-mcpu=x86_64_v4", "-mprefer-vector-width=512"),
    "aarch64": ("-target", "aarch64-linux-gnu.2.17"),
}
"""What zig calls them: it compiles for any machine on any."""


def main() -> None:
    """Build the libraries, and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cc", default=os.environ.get("LIMEN_CC") or "cc", help="the compiler, such as cc or 'zig cc'")
    parser.add_argument("--processors", default="x86-64-v3,x86-64-v4", help=f"some of {', '.join(TARGETS)}")
    parser.add_argument("--activations", default=",".join(names()), help="instead of all")
    parser.add_argument("--dtypes", default=",".join(TYPES), help=f"some of {', '.join(DTYPES)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    sources = set(sources_of(calls_of_all(arguments.activations.split(",")), arguments.dtypes.split(",")))
    for processor in arguments.processors.split(","):
        began = time.monotonic()
        target = arguments.folder / f"{processor}.so"
        build_library(sources, target, arguments.cc, processor, arguments.jobs)
        seconds = time.monotonic() - began
        print(f"{target}: {len(sources)} kernels, {target.stat().st_size / 1e6:.1f} MB, built in {seconds:.0f} s")


def calls_of_all(activations: Iterable[str]) -> Iterator[Meeting]:
    """The calls of activations by name, with one parameter for all and with one a channel."""
    for name in activations:
        own = create(name)
        yield from calls_of(own)
        if list(own.parameters()):
            yield from calls_of(create(name, num_parameters=CHANNELS))


def sources_of(meetings: Iterable[Meeting], dtypes: Iterable[str]) -> Iterator[str]:
    """The C sources of all kernels that such calls take, in training and in evaluation."""
    types = [DTYPES[name] for name in dtypes]
    yield short_calls.source()
    for activation, like in meetings:
        for training in (False, True):
            activation.train(training)
            bound, tensors = activation.bind(training), activation.tensors()
            wanted = tuple(name for name, one in zip(bound.parameters, tensors, strict=True) if one.requires_grad)
            apart = [tensor.detach() for tensor in tensors]
            for dtype in [] if bound.plain_only else types:
                call = Call(bound, torch.zeros_like(like, dtype=dtype), apart, activation.channel_dim, None)
                yield from _sources(call, wanted, dtype)


def _sources(call: Call, wanted: tuple[str, ...], dtype: torch.dtype) -> Iterator[str]:
    """Those of the kernels that one call takes, forward and backward."""
    given = prepare(call)
    if given is not None:
        name, layout = calls.DTYPES[dtype], given.plan.layout
        yield calls.forward_source(call.bound, name, layout)
        yield calls.backward_source(call.bound, name, layout, wanted)
        if short_calls.suits(call.bound):
            yield calls.forward_source(call.bound, name, calls.short_layout(call.bound))


def build_library(sources: Iterable[str], target: Path, cc: str, processor: str, jobs: int) -> None:
    """Write the library of these kernels for a kind of processor.

    Raises:
        LimenError: if the compiler fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [*shlex.split(cc), *(FLAGS), "-fopenmp-simd", *(ZIG if "zig" in cc else TARGETS)[processor]]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:

        def compiled(source: str) -> str:
            name = shipped.prefix_of(source)
            renamed = "\n".join(f"#define {function} {name}_{function}" for function in shipped.EXPORTED)
            Path(folder, f"{name}.c").write_text(f"{renamed}\n{source}", encoding="utf-8")
            _run([*command, "-c", f"{name}.c", "-o", f"{name}.o"], folder)
            return f"{name}.o"

        objects = list(pool.map(compiled, sorted(sources)))
        # By a file: a thousand names are too much for a command line of some systems.
        Path(folder, "objects").write_text("\n".join(objects), encoding="utf-8")
        _run([*command, "-shared", "-Wl,-s", "@objects", "-o", str(target.resolve())], folder)


def _run(command: Sequence[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise LimenError(f"{shlex.join(command[:2])} failed with exit code {done.returncode}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
