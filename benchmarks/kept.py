"""What is kept for the backward pass beside an activation, and the peak memory of a step?  python benchmarks/kept.py

Writes benchmarks/results/kept.json: what a block of gate, up and projection keeps, eager, compiled and with budgets,
and the peak memory and time of a training step of ResNet-20 against nn.ReLU in place. --quick takes few rounds.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from cpu import interleaved, keep_freed_memory, training_step
from torch import Tensor, nn
from torch._functorch import config
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

import limen
from limen import bench
from limen.lab.networks.factory import build
from limen.lab.training.memory import peak_memory
from limen.writing import write_atomically

RESULTS = Path(__file__).parent / "results" / "kept.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    found: dict[str, object] = {"environment": bench.environment(), "threads": torch.get_num_threads()}
    found["gated block"], found["ResNet-20 step"] = gated_blocks(), steps(3 if arguments.quick else arguments.rounds)
    for what in ("gated block", "ResNet-20 step"):
        print(f"{what}: {json.dumps(found[what], indent=1)}")
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


class Block(nn.Module):
    """Gate, up, and the projection back."""

    def __init__(self, gated: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.gated, self.gate, self.up, self.down = gated, nn.Linear(64, 256), nn.Linear(64, 256), nn.Linear(256, 64)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(self.gated(self.gate(x), self.up(x)))
        return result


def gated_blocks() -> list[dict[str, float | str]]:
    """What a gated block keeps, in hidden sizes: eager, compiled, and compiled with a budget of 0.9 and 0.5."""
    alone = limen.ASAU()
    contenders: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "F.silu(gate) * up": lambda gate, up: F.silu(gate) * up,
        "ASAU()(gate) * up": lambda gate, up: alone(gate) * up,
        "GLU(asau)": limen.GLU("asau"),
        "GLU(asau), memory='recompute'": limen.GLU("asau", memory="recompute"),
    }
    rows: list[dict[str, float | str]] = []
    x = torch.randn(1024, 64, requires_grad=True)
    for name, gated in contenders.items():
        block = Block(gated)
        parameters = [*block.parameters(), *alone.parameters()]
        row: dict[str, float | str] = {"block": name}
        for how, budget in (("eager", None), ("compiled", 1.0), ("budget 0.9", 0.9), ("budget 0.5", 0.5)):
            torch._dynamo.reset()
            with config.patch(activation_memory_budget=1.0 if budget is None else budget):
                run = block if budget is None else torch.compile(block, backend="aot_eager_decomp_partition")
                run(x)
                row[how] = round(bench.saved_bytes(run, x, parameters) / (1024 * 256 * 4), 2)
        rows.append(row)
    return rows


def steps(rounds: int, batch: int = 64) -> list[dict[str, float | str]]:
    """Peak memory and time of a training step of ResNet-20 over those with nn.ReLU in place."""
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    original = convert_conv2d_weight_memory_format(build("resnet20", (3, 32, 32), 10, seed=0), torch.channels_last)
    networks = {"nn.ReLU(inplace=True)": copy.deepcopy(original), "nn.ReLU()": original}
    for module in networks["nn.ReLU(inplace=True)"].modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    for memory in ("exact", "recompute"):
        for fused in (False, True):
            network = copy.deepcopy(original)
            limen.swap_(network, f"asau:memory={memory}")
            if fused:
                limen.fuse_(network)
            networks[f"asau, memory={memory!r}{', fused' if fused else ''}"] = network
    work = {name: training_step(network, images, labels) for name, network in networks.items()}
    times = interleaved(work, rounds)
    peaks = {name: peak_memory(step) for name, step in work.items()}
    first, *_ = work
    return [
        {
            "network": name,
            "peak": round(peaks[name] / peaks[first], 3),
            "time": round(statistics.median(a / b for a, b in zip(times[name], times[first], strict=True)), 3),
        }
        for name in work
    ]


if __name__ == "__main__":
    main()
