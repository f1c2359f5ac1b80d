"""Whether each activation, and networks that were swapped, run elsewhere, and how far the numbers move.

    python benchmarks/deploy.py [PART ...]

runs the parts named (onnx, opsets, networks, export, aoti, quantised, executorch; all by default) and stores their rows
in benchmarks/results/deploy.json, where rows of the other parts stay, and the table in docs/deploy.md. Each part needs
its libraries: onnx, onnxscript and onnxruntime (pip install 'limen[onnx]'), torchao, executorch.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import limen
from limen.writing import write_atomically

OUT = Path(__file__).parent / "results" / "deploy.json"
PAGE = Path(__file__).parents[1] / "docs" / "deploy.md"
BEGIN, END = "<!-- table of benchmarks/deploy.py -->", "<!-- end of the table -->"
OPSETS = (18, 20, 21, 22, 23, 24, 25)
Row = dict[str, Any]


def activation(name: str) -> limen.Activation:
    """With parameters that are not those it starts with."""
    torch.manual_seed(1)
    module = limen.create(name).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    return module


def inputs() -> Tensor:
    torch.manual_seed(0)
    return 3 * torch.randn(3, 8, 6, 6)


class ConvNet(nn.Module):
    def __init__(self, act: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, 2, 1)
        self.norm, self.last = nn.BatchNorm2d(32), nn.Linear(32, 10)
        self.act, self.again = act(), act()

    def forward(self, x: Tensor) -> Tensor:
        y = self.again(self.norm(self.second(self.act(self.first(x)))))
        return self.last(y.mean((2, 3)))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """Two residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Linear(8, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.last(x.mean((2, 3)))  # type: ignore[no-any-return]


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, activation="gelu")
    image, tokens = torch.randn(2, 1, 8, 8), torch.randn(2, 5, 16)
    return {
        "ConvNet": (ConvNet().eval(), image),
        "ResNet": (ResNet().eval(), image),
        "Transformer": (nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval(), tokens),
    }


def through_onnx(model: nn.Module, x: Tensor, opset: int | None = None) -> Row:
    """Exported, checked, and computed by onnxruntime on a CPU."""
    import onnx
    import onnxruntime

    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False, opset_version=opset)
    assert program is not None
    proto = program.model_proto
    onnx.checker.check_model(proto)
    domains = {node.domain for node in proto.graph.node} | {node.domain for f in proto.functions for node in f.node}
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        wanted = model(x)
    return {
        "error": apart(torch.from_numpy(found), wanted),
        "size": float(wanted.abs().max()),
        "opset": proto.opset_import[0].version,
        "standard": domains <= {""},
        "operators": dict(Counter(node.op_type for node in proto.graph.node)),
    }


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).abs().max())


def tried(row: Row, run: Callable[[], Row]) -> Row:
    """A row with what came of it, or the error."""
    try:
        return {**row, "works": True, **run()}
    except Exception as error:  # whatever the libraries raise is the row
        return {**row, "works": False, "why": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}


def onnx() -> Iterator[Row]:
    """With the parameters that they start with."""
    for name in limen.names():
        for dtype in (torch.float32, torch.float16):
            row = {"activation": name, "dtype": str(dtype).removeprefix("torch.")}
            yield tried(row, partial(through_onnx, limen.create(name).eval(), inputs().to(dtype)))


def opsets() -> Iterator[Row]:
    """Of activations that between them have every operator of the others."""
    for name in ("adact", "ash", "top_percentile", "gelusine"):
        for opset in OPSETS:
            row = {"activation": name, "asked": opset}
            yield tried(row, partial(through_onnx, activation(name), inputs(), opset))


def of_networks() -> Iterator[Row]:
    for network, (model, x) in networks().items():
        for spec in ("asau", "ash", "adact"):
            swapped = copy.deepcopy(model)
            limen.swap_(swapped, spec)
            for dtype in (torch.float32, torch.float16):
                row = {"network": network, "activation": spec, "dtype": str(dtype).removeprefix("torch.")}
                given = copy.deepcopy(swapped).to(dtype)
                yield tried(row, partial(through_onnx, given, x.to(dtype)))


def exported() -> Iterator[Row]:
    for name in limen.names():

        def run(name: str = name) -> Row:
            module, x = activation(name), inputs()
            program = torch.export.export(module, (x,))
            custom = [str(n.target) for n in program.graph.nodes if str(n.target).startswith("limen")]
            return {"error": apart(program.module()(x), module(x)), "custom": custom}

        yield tried({"activation": name}, run)


def aoti() -> Iterator[Row]:
    """Compiled ahead to a package, loaded and run."""
    for name in ("asau", "ash", "apalu", "adact"):

        def run(name: str = name) -> Row:
            model, x = ConvNet(partial(activation, name)).eval(), torch.randn(2, 1, 8, 8)
            with tempfile.TemporaryDirectory() as folder, torch.no_grad():
                program = torch.export.export(model, (x,))
                path = torch._inductor.aoti_compile_and_package(program, package_path=f"{folder}/model.pt2")
                found = torch._inductor.aoti_load_package(path)(x)
                return {"error": apart(found, model(x)), "size": float(model(x).abs().max())}

        yield tried({"network": "ConvNet", "activation": name}, run)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    y = torch.tensor(data.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    train, test = order[:1300], order[1300:]
    return x[train], y[train], x[test], y[test]


def trained(act: Callable[[], nn.Module]) -> tuple[ConvNet, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    model, data = ConvNet(act), digits()
    train(model, data, 12)
    return model, data


def train(model: nn.Module, data: tuple[Tensor, ...], epochs: int) -> None:
    model.train()
    optimizer = torch.optim.Adam(limen.param_groups(model, 3e-3))
    for epoch in range(epochs):
        order = torch.randperm(len(data[1]), generator=torch.Generator().manual_seed(epoch))
        for chosen in torch.split(order, 64):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(model(data[0][chosen]), data[1][chosen]))
            optimizer.step()
    model.eval()


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], data: tuple[Tensor, ...]) -> float:
    # As many images at once as it was calibrated with, for programs are exported for one shape.
    right = [
        (model(x).argmax(1) == y).sum() for x, y in zip(torch.split(data[2], 71), torch.split(data[3], 71), strict=True)
    ]
    return 100 * float(sum(right)) / len(data[3])


def quantised() -> Iterator[Row]:
    """Activations as they were learned, a mixture baked: static quantisation to int8 by torchao."""
    for name in ("relu", "swish", "asau", "adact"):
        model, data = trained(partial(limen.create, name))
        row = {"network": "ConvNet", "activation": name, "float": accuracy(model, data)}
        if name == "adact":
            limen.bake_(model)
            row |= {"baked": f"{model.act}, {model.again}", "float baked": accuracy(model, data)}
            train(model, data, 4)  # with what was chosen alone
            row["float trained on"] = accuracy(model, data)
        yield tried({**row, "activations": "as they are"}, partial(to_int8, model, data))
        for otherwise in ("native", "table"):
            simple = copy.deepcopy(model)
            report = limen.simplify_(simple, 0.1, example_inputs=data[0], otherwise=otherwise)
            said = {
                "activations": f"simplified, {otherwise}",
                "became": [f"{site.after} (at most {site.bound:.2g})" for site in report.sites],
                "kept": [site.reason for site in report.kept],
                "float simplified": accuracy(simple, data),
            }
            yield tried({**row, **said}, partial(to_int8, simple, data))


def to_int8(model: nn.Module, data: tuple[Tensor, ...]) -> Row:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(model, (data[0][:71],)).module(), quantizer)
    for batch in torch.split(data[0], 71)[:10]:
        prepared(batch)
    return {"int8": accuracy(convert_pt2e(prepared), data)}


def executorch() -> Iterator[Row]:
    """Lowered to XNNPACK; what it does not take runs by ExecuTorch's portable kernels."""
    for name in ("relu", "swish", "asau", "mish", "apalu", "adact", "silu"):
        yield tried({"network": "ConvNet", "activation": name}, partial(lowered, partial(activation, name)))


def lowered(act: Callable[[], nn.Module]) -> Row:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    model, x = ConvNet(act).eval(), torch.randn(2, 1, 8, 8)
    edge = to_edge_transform_and_lower(torch.export.export(model, (x,)), partitioner=[XnnpackPartitioner()])
    program = edge.to_executorch()
    (found,) = Runtime.get().load_program(program.buffer).load_method("forward").execute([x])
    names = [str(node.target) for node in program.exported_program().graph.nodes if node.op == "call_function"]
    return {
        "error": apart(found, model(x).detach()),
        "delegates": sum("delegate" in name for name in names),
        "portable": sorted({name for name in names if name.startswith("aten")}),
    }


PARTS: dict[str, tuple[Callable[[], Iterator[Row]], tuple[str, ...]]] = {
    "onnx": (onnx, ("onnx", "onnxscript", "onnxruntime")),
    "opsets": (opsets, ("onnx", "onnxscript", "onnxruntime")),
    "networks": (of_networks, ("onnx", "onnxscript", "onnxruntime")),
    "export": (exported, ()),
    "aoti": (aoti, ()),
    "quantised": (quantised, ("torchao",)),
    "executorch": (executorch, ("executorch", "torchao")),
}


def markdown(stored: dict[str, Any]) -> str:
    """The table of docs/deploy.md: every activation by target, with the largest difference."""
    by_target = {
        "ONNX float32": {r["activation"]: r for r in _rows(stored, "onnx") if r["dtype"] == "float32"},
        "ONNX float16": {r["activation"]: r for r in _rows(stored, "onnx") if r["dtype"] == "float16"},
        "`torch.export`": {r["activation"]: r for r in _rows(stored, "export")},
        "AOTInductor, in a ConvNet": {r["activation"]: r for r in _rows(stored, "aoti")},
        "ExecuTorch (XNNPACK), in a ConvNet": {r["activation"]: r for r in _rows(stored, "executorch")},
    }
    lines = [f"| activation | {' | '.join(by_target)} |", "| --- |" + " ---: |" * len(by_target)]
    for name in limen.names():
        cells = [_cell(rows.get(name)) for rows in by_target.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rows(stored: dict[str, Any], part: str) -> list[Row]:
    return list(stored.get(part, {}).get("rows", ()))


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row['error']:.1e}" if row["works"] else "fails"


def write_table(stored: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    write_atomically(PAGE, f"{before}{BEGIN}\n\n{markdown(stored)}\n\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    asked = parser.parse_args().parts or list(PARTS)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for part in asked:
        run, libraries = PARTS[part]
        rows = []
        for row in run():
            print(part, {key: value for key, value in row.items() if key != "operators"}, flush=True)
            rows.append(row)
        stored = json.loads(OUT.read_text()) if OUT.exists() else {}
        versions = {name: importlib.metadata.version(name) for name in ("torch", *libraries)}
        stored[part] = {"versions": versions, "rows": rows}
        write_atomically(OUT, json.dumps(stored, indent=1) + "\n")
        write_table(stored)


if __name__ == "__main__":
    main()
