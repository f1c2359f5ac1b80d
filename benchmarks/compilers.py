"""Are kernels as fast by another compiler?  python benchmarks/compilers.py gcc clang "python -m ziglang cc"

Writes benchmarks/results/compilers.json and prints the table: each kernel's time by each compiler, as a ratio to the
first one's. All are loaded in one process, run on the same threads, on the same tensors, in turns; the fastest of the
rounds counts, since whatever else runs on a machine only ever adds time (there set OMP_WAIT_POLICY=passive, or threads
that wait take the cores of those that work). Also whether the bits are the same on one thread and on all, for
each compiler, and whether they are those of the first one.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from cpu import keep_freed_memory
from torch import Tensor

import limen
from limen.kernels.c import build, calls
from limen.kernels.call import Call, Prepared, prepare
from limen.writing import write_atomically

ACTIVATIONS = ("relu", "swish", "gelu", "mish", "asau", "ash", "adact")
SIZES = {"in the cache": 1 << 16, "in memory": 1 << 22}
RESULTS = Path(__file__).parent / "results" / "compilers.json"


class Case(NamedTuple):
    """A kernel and what it is called with."""

    name: str
    given: Prepared
    wanted: tuple[str, ...]
    g: Tensor

    def run(self) -> list[Tensor]:
        """Forward, then backward."""
        y, statistics = calls.run_forward(self.given)
        gx, grads = calls.run_backward(self.given, self.g, statistics, self.wanted)
        return [y, gx, grads]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("compilers", nargs="+")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    keep_freed_memory()
    versions, rows = {}, []
    for case in cases():
        ways = {}
        for compiler in arguments.compilers:
            choose(compiler)
            versions[compiler] = build.find_compiler().version
            ways[compiler] = run_by(case)
        rows.append(measured(case, ways, arguments.threads, arguments.rounds))
        print(json.dumps(rows[-1]), flush=True)
    found = {"date": date.today().isoformat(), "threads": arguments.threads, "compilers": versions, "rows": rows}
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")
    print(markdown(found))


def cases() -> list[Case]:
    """Each activation on vectors in the cache and in memory, in float32; one more in bfloat16."""
    found = []
    types = [(name, torch.float32) for name in ACTIVATIONS] + [("asau", torch.bfloat16)]
    for name, dtype in types:
        activation = limen.create(name)
        bound = activation.bind(training=False)
        for size, elements in SIZES.items():
            x = torch.randn(64, elements // 64, dtype=dtype)
            given = prepare(Call(bound, x, [tensor.detach() for tensor in activation.tensors()], 1, None))
            if given is not None:
                kind = str(dtype).removeprefix("torch.")
                found.append(Case(f"{name} {kind} {size}", given, bound.parameters, torch.randn_like(x)))
    return found


def choose(compiler: str) -> None:
    """Have the next kernels built by a compiler."""
    os.environ["LIMEN_CC"] = compiler
    forget()


def forget() -> None:
    """Have kernels looked for anew, and their functions in them."""
    build.forget()
    calls.forward_function.cache_clear()
    calls.backward_function.cache_clear()


def run_by(case: Case) -> Callable[[], list[Tensor]]:
    """The case by the kernels of the compiler that is chosen now."""
    bound, plan, dtype = case.given.bound, case.given.plan, calls.DTYPES[case.given.x.dtype]
    own = (
        calls.forward_function(bound, dtype, plan.layout),
        calls.backward_function(bound, dtype, plan.layout, case.wanted),
    )

    def run() -> list[Tensor]:
        with patch.multiple(calls, forward_function=lambda *_: own[0], backward_function=lambda *_: own[1]):
            return case.run()

    return run


def measured(case: Case, ways: dict[str, Any], threads: int, rounds: int) -> dict[str, Any]:
    """Times as ratios to the first compiler's, and what the bits are equal to."""
    torch.set_num_threads(1)
    alone = {compiler: run() for compiler, run in ways.items()}
    torch.set_num_threads(threads)
    results = {compiler: run() for compiler, run in ways.items()}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for compiler, run in ways.items():
            began = time.perf_counter()
            run()
            best[compiler] = min(best[compiler], time.perf_counter() - began)
    first = next(iter(ways))
    return {
        "case": case.name,
        "milliseconds": {compiler: round(1000 * seconds, 3) for compiler, seconds in best.items()},
        "ratio": {compiler: round(seconds / best[first], 3) for compiler, seconds in best.items()},
        "same for any threads": all(same(alone[compiler], results[compiler]) for compiler in ways),
        "same as the first": {compiler: same(results[first], found) for compiler, found in results.items()},
    }


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether all bits are equal."""
    return all(map(torch.equal, one, other))


def markdown(found: dict[str, Any]) -> str:
    """The ratios as a table."""
    names = list(found["compilers"])
    lines = [f"| forward and backward | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for row in found["rows"]:
        ratios = " | ".join(f"{row['ratio'][name]:.2f}" for name in names)
        lines.append(f"| {row['case']} | {ratios} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
