"""Are the wheel's kernels for AVX-512 faster than those for AVX2?  make kernels; python benchmarks/levels.py

Writes benchmarks/results/levels.json and prints it: forward and backward of a million numbers in float32 by the
libraries of both levels in build/kernels, in one process, on the same tensors and threads, in turns; the fastest of
the rounds counts. It needs a processor that has both.
"""

from __future__ import annotations

import argparse
import json
import platform
from datetime import date
from pathlib import Path
from unittest.mock import patch

import torch
from compilers import Case, forget, measured, run_by
from cpu import keep_freed_memory

import limen
from limen.kernels.c import build, shipped
from limen.kernels.c.compiler import cpu_identity
from limen.kernels.call import Call, prepare
from limen.writing import write_atomically

ACTIVATIONS = ("relu", "swish", "asau", "ash", "apalu", "adact")
SIZES = {"in the cache": 1 << 16, "a million": 1 << 20}
LEVELS = ("x86-64-v3", "x86-64-v4")
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=Path, default=ROOT / "build" / "kernels")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "levels.json")
    arguments = parser.parse_args()
    if shipped.processor() != LEVELS[-1]:
        parser.error(f"this processor is {shipped.processor() or 'of no level'}; it must be {LEVELS[-1]}")
    keep_freed_memory()
    rows = []
    for case in cases():
        ways = {}
        for level in LEVELS:
            with patch.multiple(shipped, FOLDER=arguments.kernels, _features=lambda level=level: shipped.X86[level]):
                forget()
                ways[level] = run_by(case)
                if not all(one.shipped for one in build.journal()):
                    parser.error(f"{arguments.kernels} does not have all kernels of {case.name}; make kernels")
        rows.append(measured(case, ways, torch.get_num_threads(), arguments.rounds))
        print(json.dumps(rows[-1]), flush=True)
    found = {
        "date": date.today().isoformat(),
        "processor": next(iter(cpu_identity().partition("model name: ")[2].splitlines()), platform.processor()),
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


def cases() -> list[Case]:
    """Each activation, with one parameter for all, in both sizes."""
    found = []
    for name in ACTIVATIONS:
        activation = limen.create(name)
        bound, tensors = activation.bind(training=False), activation.tensors()
        # As in training; the wheel has no other backward kernels.
        wanted = tuple(name for name, one in zip(bound.parameters, tensors, strict=True) if one.requires_grad)
        for size, elements in SIZES.items():
            x = torch.randn(64, elements // 64)
            given = prepare(Call(bound, x, [tensor.detach() for tensor in tensors], 1, None))
            if given is not None:
                found.append(Case(f"{name} float32 {size}", given, wanted, torch.randn_like(x)))
    return found


if __name__ == "__main__":
    main()
