"""Is there an activation left that a swap's report does not name? Asked of models of six libraries, by operator.

A model runs before and after ``swap_``, without and with example inputs, under a recorder of torch's operators that
knows nothing of how ``swap_`` finds them. Each call after the swap is inside a new activation, or the report must name
it: its line, or a module it runs in.

    python benchmarks/every_call --out benchmarks/results/every_call.json [--only timm:resnet18]

Needs timm, torchvision, transformers, monai, diffusers and torch_geometric, those that are there; none loads weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import limen
from every_call.models import Case, every_case
from every_call.recorder import Call, record
from limen.surgery import SwapReport
from limen.writing import write_atomically


def called(model: nn.Module, inputs: Any) -> Any:
    """As ``swap_`` calls a model with example inputs."""
    torch.manual_seed(1)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def named(call: Call, report: SwapReport, kept: set[str]) -> bool:
    """Whether the report says that this call is left: a module it runs in, or a line that leads to it."""
    places = [site.location for site in report.skipped] + [":".join(line.split(":")[:2]) for line in report.unreached]
    return bool(kept & set(call.within) or set(places) & set(call.lines))


def short(location: str) -> str:
    """Without the folder of the installation."""
    return location.split("site-packages/")[-1]


def looked_at(case: Case, inputs: Any, example_inputs: Any) -> dict[str, Any]:
    """One swap: what runs after it, and whether undo gives the very outputs back."""
    torch.manual_seed(0)
    model = case.build().eval()
    with torch.no_grad():
        before = tensors(called(model, inputs))
    start = time.process_time()
    report = limen.swap_(model, "asau", example_inputs=example_inputs)
    row: dict[str, Any] = {"swap_seconds": round(time.process_time() - start, 2)}
    new = frozenset(id(module) for module in model.modules() if isinstance(module, limen.Activation))
    recorder = record(model, lambda m: called(m, inputs), new)
    kept = {site.path for site in report.skipped if site.path}
    left = sorted({(call.operator, short(call.lines[0])) for call in recorder.calls if not named(call, report, kept)})
    row |= {
        "replaced": len(report.sites), "kept": len(report.skipped), "unreached": len(report.unreached),
        "ran": len(recorder.ran & new), "left_and_named": len(recorder.calls) - len(left),
        "left_and_not_named": [" ".join(one) for one in left],
    }  # fmt: skip
    report.undo()
    with torch.no_grad():
        row["undone_to_the_bit"] = same(before, tensors(called(model, inputs)))
    return row


def tensors(value: Any) -> list[Tensor]:
    """All tensors in what a model returned."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [x for part in value for x in tensors(part)] if isinstance(value, (list, tuple)) else []


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """To the bit, NaN being equal to NaN."""
    return len(a) == len(b) and all(map(_equal, a, b))


def _equal(x: Tensor, y: Tensor) -> bool:
    return torch.equal(x.isnan(), y.isnan()) and torch.equal(x.nan_to_num(), y.nan_to_num())


def measure(case: Case) -> dict[str, Any]:
    row: dict[str, Any] = {"library": case.library, "model": case.name}
    torch.manual_seed(0)
    try:
        inputs = case.inputs()
        model = case.build().eval()
        calls = record(model, lambda m: called(m, inputs)).calls
    except Exception as error:
        return row | {"not_run": f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"}
    row["calls_before"] = len(calls)
    row["plain"] = attempted(case, inputs, None)
    row["with_examples"] = attempted(case, inputs, inputs)
    return row


def attempted(case: Case, inputs: Any, example_inputs: Any) -> dict[str, Any]:
    try:
        return looked_at(case, inputs, example_inputs)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="part of LIBRARY:MODEL")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rows = []
    for case in every_case():
        if options.only in f"{case.library}:{case.name}":
            rows.append(measure(case))
            print(json.dumps(rows[-1]), flush=True)
            if options.out:
                write(options.out, rows)
    if not rows:
        parser.error(
            f"no model is called like --only {options.only!r}; give a part of LIBRARY:MODEL, such as timm:resnet18."
        )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    versions = {
        name: sys.modules[name].__version__
        for name in ("torch", *{row["library"]: 0 for row in rows})
        if name in sys.modules
    }
    write_atomically(path, json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
