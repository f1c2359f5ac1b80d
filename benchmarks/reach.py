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
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "surgery"))

import nasty
import test_architectures as architectures
from checks import evaluated, tensors

import limen


class Intercepting(TorchFunctionMode):
    """What an interception has to do at least: see every call, ask which it is and where it comes from."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in NAMES:
            frame = sys._getframe(1)
            self.last = (frame.f_code, frame.f_lineno)
        return func(*args, **(kwargs or {}))


NAMES = {"relu", "relu_", "gelu", "silu", "tanh", "sigmoid", "softmax", "leaky_relu", "elu", "softplus", "hardswish"}


def computes(make_trace, model, inputs):
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
        args, kwargs = ((), given) if isinstance(given, dict) else ((given,), {})
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


def rows_of(inputs, times):
    """The same inputs so many times over; one row for 0."""
    if isinstance(inputs, dict):
        return {key: rows_of(value, times) for key, value in inputs.items()}
    return torch.cat([inputs] * times) if times else inputs[:1]


def exported(model, args, kwargs):
    """Exported with as free a first dimension as export allows."""
    dynamic = [{0: torch.export.Dim.AUTO} for _ in (*args, *kwargs)]
    shapes = dict(zip(kwargs, dynamic, strict=True)) if kwargs else tuple(dynamic)
    return torch.export.export(model, args, kwargs, dynamic_shapes=shapes).module()


def median_ms(function, rounds=15):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def measure(name, build, inputs):
    torch.manual_seed(0)
    model, other = build().eval(), rows_of(inputs, 0)
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})
    row = {
        "network": name,
        "fx": computes(lambda: torch.fx.symbolic_trace(model), model, inputs),
        "export": computes(lambda: exported(model, args, kwargs), model, inputs),
    }
    plain = median_ms(lambda: evaluated(model, inputs))

    def intercepted():
        with Intercepting():
            evaluated(model, inputs)

    row["interception_time"] = round(median_ms(intercepted) / plain, 2)
    start = time.perf_counter()
    report = limen.swap_(model, "silu", example_inputs=[inputs])
    row["swap_seconds"] = round(time.perf_counter() - start, 2)
    row["sites"] = len(report.sites)
    row["of_them_calls"] = sum(bool(site.location) for site in report.sites)
    row["kept"], row["unreached"] = len(report.skipped), len(report.unreached)
    with torch.no_grad():
        row["rewritten_other_batch"] = bool(tensors(model(**other) if isinstance(other, dict) else model(other)))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases = {cls.__name__: (cls, torch.randn(3, nasty.WIDTH)) for cls in nasty.ALL}
    cases |= {name: (build, inputs) for name, (build, inputs, *_) in architectures.CASES.items()}
    rows = [measure(name, *case) for name, case in cases.items()]
    for row in rows:
        print(" | ".join(str(value) for value in row.values()))
    if options.out:
        options.out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
