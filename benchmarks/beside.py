"""What stands beside an activation, computed with it: how much faster, and what is kept?  python benchmarks/beside.py

Writes benchmarks/results/beside.json and prints the tables of ``limen bench --beside glu``, ``norm``, ``mlp``: a gate
of 1 million float32 against ``torch.compile(F.silu(gate) * up)``, a batch norm with its activation, 64x64x32x32 in both
layouts, against nn.BatchNorm2d and nn.ReLU, and two layers with an activation between them. Then whole training steps:
ResNet-20 on 32x32 images, fused by limen.fuse_ and not, against the same with nn.ReLU, and without activations and
norms, which no fusing can beat; and a block of a language model (width 512, gate of 4/3 of it, 2x256 tokens) with GLU
against F.silu(gate) * up. --quick takes few rounds; --steps only these, --batch so many images, --only some
activations. The allocator keeps freed memory, as in cpu.py.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cpu import keep_freed_memory
from torch import Tensor, nn
from torch.nn import functional as F

import limen
from limen import bench
from limen.lab.networks.cifar_resnet import CifarResNet
from limen.writing import write_atomically

RESULTS = Path(__file__).parent / "results" / "beside.json"


ACTIVATIONS = ("swish", "asau", "apalu", "ash", "adact")
WIDTH, TOKENS, HEADS = 512, 256, 8


class LanguageBlock(nn.Module):
    """Attention and a gated layer, each behind a norm and beside a shortcut."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        inner = 4 * WIDTH // 3
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate_proj, self.up_proj = nn.Linear(WIDTH, inner, bias=False), nn.Linear(WIDTH, inner, bias=False)
        self.down_proj = nn.Linear(inner, WIDTH, bias=False)
        self.act_fn = activation

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (N, tokens, width)."""
        query, key, value = self.into(self.norm1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind()
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        gated: Tensor = self.down_proj(self.act_fn(self.gate_proj(y)) * self.up_proj(y))
        return x + gated


class PlainASAU(nn.Module):
    """ASAU on torch's operators, for torch.compile."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """a x + (b - a) x tanh(alpha softplus(beta (b - a) x)) with a = 0.01 and b = 1."""
        return 0.01 * x + 0.99 * x * torch.tanh(self.alpha * F.softplus(self.beta * 0.99 * x))


def compiled_norms(rounds: int) -> dict[str, list[dict[str, float | str]]]:
    """BatchNorm2d and ASAU of 64x64x32x32 as torch.compile makes them of the plain formula, and as NormAct."""
    found = {}
    for layout, order in (("channels last", torch.channels_last), ("NCHW", torch.contiguous_format)):
        x = torch.randn(64, 64, 32, 32).contiguous(memory_format=order).requires_grad_()
        g = torch.randn_like(x)
        plain = nn.Sequential(nn.BatchNorm2d(64), PlainASAU())
        ways = {
            "torch.compile(BatchNorm2d, the formula)": torch.compile(plain),
            "NormAct(asau)": limen.NormAct(nn.BatchNorm2d(64), "asau"),
            "BatchNorm2d, ReLU": nn.Sequential(nn.BatchNorm2d(64), nn.ReLU()),
        }
        steps = {name: both_ways(way, x, g) for name, way in ways.items()}
        found[f"norm over torch.compile, {layout}"] = measured(steps, rounds)
    return found


def both_ways(module: Any, x: Tensor, g: Tensor) -> Callable[[], None]:
    """Forward and backward, of the input and the parameters."""

    def step() -> None:
        torch.autograd.grad(module(x), [x, *module.parameters()], g)

    return step


def measured(steps: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, float | str]]:
    """Milliseconds of each, and relative to the first in the same round: medians and quartiles."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for turn in torch.randperm(len(steps)).tolist():
            name, step = list(steps.items())[turn]
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    first = times[next(iter(steps))]
    rows: list[dict[str, float | str]] = []
    for name, mine in times.items():
        ratios = [a / b for a, b in zip(mine, first, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append({"contender": name, "ms": 1000 * statistics.median(mine), "ratio": middle, "from": low, "to": high})
        print(f"{name:<32} {1000 * statistics.median(mine):>9.1f} ms {middle:>7.3f}  ({low:.3f} to {high:.3f})")
    return rows


def training_step(model: nn.Module, x: Tensor, target: Tensor | None) -> Callable[[], None]:
    """Forward and backward, gradients made anew."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        y = model(x)
        (y.square().mean() if target is None else F.cross_entropy(y, target)).backward()

    return step


def without(model: nn.Module, *kinds: type[nn.Module]) -> nn.Module:
    """The model with nothing in their place: what they would leave of a step if they cost nothing."""
    for module in [*model.modules()]:
        for name, part in module.named_children():
            if isinstance(part, kinds):
                setattr(module, name, nn.Identity())
    return model


def residual_networks(activations: list[str], batch: int, rounds: int) -> list[dict[str, float | str]]:
    """ResNet-20."""
    x, target = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    plain = CifarResNet((3, 32, 32), 10)
    models: dict[str, nn.Module] = {"nn.ReLU": plain, "nn.ReLU fused": copy.deepcopy(plain)}
    models["no activations"] = without(copy.deepcopy(plain), nn.ReLU)
    models["no norms, no activations"] = without(copy.deepcopy(plain), nn.ReLU, nn.BatchNorm2d)
    for spec in activations:
        for fuse in (False, True):
            models[f"{spec}{' fused' if fuse else ''}"] = swapped = copy.deepcopy(plain)
            limen.swap_(swapped, spec)
    for name, model in models.items():
        if name.endswith("fused"):
            limen.fuse_(model)
    return measured({name: training_step(model, x, target) for name, model in models.items()}, rounds)


def language_blocks(rounds: int) -> list[dict[str, float | str]]:
    """The block with a gate, plain and fused."""
    x, plain = torch.randn(2, TOKENS, WIDTH), LanguageBlock(nn.SiLU())
    models = {"SwiGLU eager": plain}
    for spec in ("silu", "asau"):
        models[f"GLU({spec})"] = model = copy.deepcopy(plain)
        limen.swap_(model, spec, fuse=True)
    return measured({name: training_step(model, x, None) for name, model in models.items()}, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="five rounds")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--steps", action="store_true", help="whole training steps only")
    parser.add_argument("--batch", type=int, default=64, help="images of a step")
    parser.add_argument("--only", default=",".join(ACTIVATIONS), help="activations of the steps")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    found: dict[str, object] = {"environment": bench.environment(), "threads": torch.get_num_threads()}
    rounds = 5 if arguments.quick else arguments.rounds
    for kind in () if arguments.steps else bench.BESIDE:
        rows, bandwidth = bench.measure_beside(kind, rounds=rounds)
        print(bench.table_beside(rows, bandwidth), "\n")
        found[kind] = [row.as_dict() for row in rows]
        found[f"copy GB/s {kind}"] = bandwidth.gigabytes_per_second
    found |= {} if arguments.steps else compiled_norms(rounds)
    found["step, ResNet-20"] = residual_networks(arguments.only.split(","), arguments.batch, rounds)
    found["step, language block"] = language_blocks(rounds)
    found["images of a step"] = arguments.batch
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
