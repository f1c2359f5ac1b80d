"""Compile Triton kernels for GPUs that are not here: python tests/kernels/triton_compiling.py asau ash --dtypes all

Prints a JSON line for each kernel and target: what was compiled, how large the code is, and what must not be in it. A
process of its own, because Triton cannot compile in one that interprets.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import limen
from limen.kernels.call import Call, Prepared, prepare
from limen.kernels.triton import calls as triton_calls
from limen.kernels.triton import launch
from limen.kernels.triton.calls import Backward, KernelCall
from limen.kernels.triton.launch import FAMILIES, Device

TARGETS = {
    "sm_80": (GPUTarget("cuda", 80, 32), Device(FAMILIES["nvidia"], 108)),
    "sm_90": (GPUTarget("cuda", 90, 32), Device(FAMILIES["nvidia"], 132)),
    "gfx942": (GPUTarget("hip", "gfx942", 64), Device(FAMILIES["amd"], 304)),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NAMES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int64: "*i64"}

ELEMENTWISE = {
    "shared": ((64, 4097), 1, 1),
    "row": ((8, 64, 14, 14), 64, 1),
    "short row": ((8, 64, 7, 7), 64, 1),
    "lane": ((512, 768), 768, -1),
    "one element": ((1, 1), 1, 1),
}
OF_SAMPLES = {
    "one visit": ((64, 1000), 1, 1),
    "spread": ((4, 64, 56, 56), 1, 1),
    "one visit, a parameter a channel": ((8, 64, 8, 8), 64, 1),
    "spread, a parameter a channel": ((2, 64, 112, 112), 64, 1),
    "a sample of one element": ((1, 1), 1, 1),
}
"""Shape, parameters and channel axis of inputs that between them need every kernel of an activation."""
SHARED = ("shared", "one visit", "spread", "one element", "a sample of one element")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("activations", nargs="*", default=limen.names())
    parser.add_argument("--wide", action="store_true", help="for inputs of 2^31 elements and more")
    parser.add_argument("--dtypes", choices=["all", "one"], default="one", help="each kernel in all types, or in one")
    arguments = parser.parse_args()
    if arguments.wide:
        triton_calls.WIDE_FROM = 0
    for name in arguments.activations:
        for turn, layout in enumerate(_layouts(name)):
            for shift, target in enumerate(TARGETS):
                # One type each, in turn, so that every activation meets every type and every target meets every layout.
                one = list(DTYPES)[(turn + shift) % len(DTYPES)]
                for dtype in DTYPES if arguments.dtypes == "all" else [one]:
                    for row in compile_all(name, layout, target, dtype):
                        print(json.dumps(row), flush=True)


def calls(name: str, layout: str, dtype: torch.dtype, device: Device) -> Iterator[KernelCall]:
    """Every launch that a training step of the activation makes on such an input."""
    shape, channels, channel_dim = {**ELEMENTWISE, **OF_SAMPLES}[layout]
    module = limen.create(name, num_parameters=channels, channel_dim=channel_dim)
    bound = module._bound[True]
    seed = torch.zeros(1, dtype=torch.int64) if bound.noise else None
    given = prepare(Call(bound, torch.empty(shape, dtype=dtype), module.tensors(), channel_dim, seed))
    assert given is not None
    statistics = torch.empty(1) if given.plan.layout == "sample" else None
    yield from triton_calls.forward_calls(given, given.x, statistics, device)
    yield from _backward_calls(given, statistics, device)


def _backward_calls(given: Prepared, statistics: torch.Tensor | None, device: Device) -> list[KernelCall]:
    x, plan = given.x, given.plan
    back = Backward(given, x, x, torch.empty(1), statistics, given.bound.parameters)
    if statistics is None:
        return triton_calls.backward_calls(back, launch.elementwise(plan, device, x.element_size(), backward=True))
    visit = launch.one_visit(plan, device, x.element_size(), backward=True)
    if visit is not None:
        return triton_calls.visit_calls(back, visit)
    sums, result = triton_calls.spread_calls(back, launch.spread(plan, device, x.element_size(), backward=True))
    return [sums, result(statistics)]


def compiled(call: KernelCall, target: GPUTarget) -> Any:
    """The kernel as a launch with such arguments would have it compiled."""
    signature: dict[str, str] = {}
    known: dict[tuple[int], Any] = {}
    constants = dict(call.constants)
    for index, (name, argument) in enumerate(zip(call.kernel.arg_names, call.arguments, strict=False)):
        is_tensor = isinstance(argument, torch.Tensor)
        signature[name] = NAMES[argument.dtype] if is_tensor else "i64" if call.constants.get("WIDE") else "i32"
        if not is_tensor and argument == 1:
            constants[name] = 1  # as Triton itself does
        elif is_tensor or argument % 16 == 0:
            known[(index,)] = [["tt.divisibility", 16]]
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(call.kernel, signature, constants, known)
    return triton.compile(source, target=target, options={"num_warps": call.warps})


def compile_all(name: str, layout: str, target: str, dtype: str) -> Iterator[dict[str, Any]]:
    """A row for each kernel."""
    gpu, device = TARGETS[target]
    for call in calls(name, layout, DTYPES[dtype], device):
        row = {"activation": name, "layout": layout, "target": target, "dtype": dtype, "kernel": call.kernel.__name__}
        yield {**row, **_described(compiled(call, gpu), target)}


def _described(kernel: Any, target: str) -> dict[str, Any]:
    text = kernel.asm["ttgir"] + kernel.asm["llir"] + kernel.asm["amdgcn" if target == "gfx942" else "ptx"]
    found: dict[str, Any] = {"float64": bool(re.search(r"\bf64\b|\bdouble\b|_f64", text))}
    if target == "gfx942":
        widths = re.findall(r"(?:global|buffer)_load_dword(?:x(\d))?", text)
        return {**found, "bytes": len(kernel.asm["hsaco"]), "read": 4 * max((int(w or 1) for w in widths), default=0)}
    widths = [
        int(count or 1) * int(bits) // 8
        for count, bits in re.findall(r"ld\.global\.(?:v(\d)\.)?b(\d+)", kernel.asm["ptx"])
    ]
    return {**found, "bytes": len(kernel.asm["cubin"]), "read": max(widths), **_resources(kernel.asm["cubin"])}


def _resources(cubin: bytes) -> dict[str, int]:
    """Registers a thread, and bytes of the stack, which is where registers spill."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        return {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return {"registers": int(re.findall(r"REG:(\d+)", text)[0]), "stack": int(re.findall(r"STACK:(\d+)", text)[0])}


def _layouts(name: str) -> list[str]:
    """The layouts that the activation has kernels for."""
    module = limen.create(name)
    if module.plain_only:
        return []
    layouts = list(ELEMENTWISE if module.elementwise else OF_SAMPLES)
    shared_only = not module.tensors()
    return [layout for layout in layouts if not shared_only or layout in SHARED]


if __name__ == "__main__":
    main()
