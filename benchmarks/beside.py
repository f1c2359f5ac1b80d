"""What stands beside an activation, computed with it: how much faster, and what is kept?  python benchmarks/beside.py

Writes benchmarks/results/beside.json and prints the tables of ``limen bench --beside glu`` and ``norm``: a gate of 1
million float32 against ``torch.compile(F.silu(gate) * up)``, and a batch norm with its activation, 64x64x32x32 in both
layouts, against nn.BatchNorm2d and nn.ReLU. --quick takes few rounds. The allocator keeps freed memory, as in cpu.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from cpu import keep_freed_memory

from limen import bench
from limen.lab.study.store import write_atomically

RESULTS = Path(__file__).parent / "results" / "beside.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="five rounds")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    found: dict[str, object] = {"environment": bench.environment(), "threads": torch.get_num_threads()}
    for kind in bench.BESIDE:
        rows, bandwidth = bench.measure_beside(kind, rounds=5 if arguments.quick else arguments.rounds)
        print(bench.table_beside(rows, bandwidth), "\n")
        found[kind] = [row.as_dict() for row in rows]
        found[f"copy GB/s {kind}"] = bandwidth.gigabytes_per_second
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
