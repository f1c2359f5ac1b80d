"""Which mechanism reaches functional activations: fx tracing, export, interception at run time, rewriting the source?

For every network of tests/surgery: does a trace exist, does it still compute the network for twice the rows and for one
row (which takes another branch in some), what does interception cost a forward pass, and what does rewriting reach.

    python benchmarks/reach.py --out benchmarks/results/reach.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "surgery"))

import checks
import nasty
import test_architectures as architectures

import limen
from limen.writing import write_atomically

Inputs = Tensor | dict[str, Tensor]
Build = Callable[[], nn.Module]

# The tests' helpers carry no types.
tensors: Callable[[object], list[Tensor]] = checks.tensors
evaluated: Callable[[nn.Module, Inputs], list[Tensor]] = checks.evaluated


class Intercepting(TorchFunctionMode):
    """What an interception has to do at least: see every call, ask which it is and where it comes from."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Collection[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if getattr(func, "__name__", "") in NAMES:
            frame = sys._getframe(1)
            self.last = (frame.f_code, frame.f_lineno)
        return func(*args, **(kwargs or {}))


NAMES = {"relu", "relu_", "gelu", "silu", "tanh", "sigmoid", "softmax", "leaky_relu", "elu", "softplus", "hardswish"}


def computes(make_trace: Callable[[], Callable[..., object]], model: nn.Module, inputs: Inputs) -> str:
    """Whether a trace exists, and whether it computes the network for these inputs and for others."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = make_trace()
    except Exception as error:
        return f"no ({type(error).__name__})"
    for given, what in (
        (inputs, "wrong"), (rows_of(inputs, 2), "not for twice the rows"), (rows_of(inputs, 0), "not for one row")
    ):  # fmt: skip
        args, kwargs = arguments_of(given)
        try:
            with torch.no_grad():
                same = all(
                    torch.allclose(a, b, atol=1e-5)
                    for a, b in zip(tensors(traced(*args, **kwargs)), tensors(model(*args, **kwargs)), strict=True)
                )
        except Exception:
            same = False
        if not same:
            return what
    return "yes"


def rows_of(inputs: Inputs, times: int) -> Inputs:
    """The same inputs so many times over; one row for 0."""

    def rows(x: Tensor) -> Tensor:
        return torch.cat([x] * times) if times else x[:1]

    return {key: rows(x) for key, x in inputs.items()} if isinstance(inputs, dict) else rows(inputs)


def arguments_of(inputs: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """What a network is called with: tensors by name, or one in its place."""
    return ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})


def exported(model: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> nn.Module:
    """Exported with as free a first dimension as export allows."""
    dynamic = [{0: torch.export.Dim.AUTO} for _ in (*args, *kwargs)]
    shapes = dict(zip(kwargs, dynamic, strict=True)) if kwargs else tuple(dynamic)
    return torch.export.export(model, args, kwargs, dynamic_shapes=shapes).module()


def median_ms(function: Callable[[], object], rounds: int = 15) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def measure(name: str, build: Build, inputs: Inputs) -> dict[str, str | float]:
    torch.manual_seed(0)
    model = build().eval()
    args, kwargs = arguments_of(inputs)
    row: dict[str, str | float] = {
        "network": name,
        "fx": computes(lambda: torch.fx.symbolic_trace(model), model, inputs),
        "export": computes(lambda: exported(model, args, kwargs), model, inputs),
    }
    plain = median_ms(lambda: evaluated(model, inputs))

    def intercepted() -> None:
        with Intercepting():
            evaluated(model, inputs)

    row["interception_time"] = round(median_ms(intercepted) / plain, 2)
    start = time.perf_counter()
    report = limen.swap_(model, "silu", example_inputs=[inputs])
    row["swap_seconds"] = round(time.perf_counter() - start, 2)
    row["sites"] = len(report.sites)
    row["of_them_calls"] = sum(bool(site.location) for site in report.sites)
    row["kept"], row["unreached"] = len(report.skipped), len(report.unreached)
    args, kwargs = arguments_of(rows_of(inputs, 0))
    with torch.no_grad():
        row["rewritten_other_batch"] = bool(tensors(model(*args, **kwargs)))
    return row


def chain(count: int) -> nn.Module:
    return nn.Sequential(*[nn.ReLU() for _ in range(count)])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(self.b(self.act(self.a(x)))) + x


def blocks(count: int) -> nn.Module:
    return nn.Sequential(*[Block() for _ in range(count // 2)])


def speed(build: Callable[[int], nn.Module], count: int) -> dict[str, str | float]:
    """CPU seconds for a swap of so many sites, for printing its report and for undoing it; the best of three."""
    row: dict[str, str | float] = {"network": build.__name__, "sites": count}
    for name, given in (("swap", None), ("proved", torch.randn(2, 4))):
        model, best = build(count), [float("inf")] * 3
        for _ in range(3):
            times = [time.process_time()]
            report = limen.swap_(model, "silu", example_inputs=given)
            times.append(time.process_time())
            str(report)
            times.append(time.process_time())
            report.undo()
            times.append(time.process_time())
            best = [min(old, after - before) for old, before, after in zip(best, times, times[1:], strict=False)]
        row |= {f"{name}_seconds": round(best[0], 3), f"{name}_print_seconds": round(best[1], 4)}
        row[f"{name}_undo_seconds"] = round(best[2], 4)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases: dict[str, tuple[Build, Inputs]] = {cls.__name__: (cls, torch.randn(3, nasty.WIDTH)) for cls in nasty.ALL}
    cases |= {name: (build, inputs) for name, (build, inputs, *_) in architectures.CASES.items()}
    rows = [measure(name, *case) for name, case in cases.items()]
    for row in rows:
        print(" | ".join(str(value) for value in row.values()))
    times = [speed(build, count) for build in (chain, blocks) for count in (250, 500, 1000)]
    for row in times:
        print(" | ".join(str(value) for value in row.values()))
    if options.out:
        found = {"torch": torch.__version__, "rows": rows, "speed": times}
        write_atomically(options.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
