"""Kernels for machines that are not here: emulated where that can be had, else compiled and looked at."""

import importlib.util
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers_building import needs_gcc
from helpers_emulated import Emulator

import limen
from limen.activations.registry import create, names
from limen.kernels.c import build, calls, shipped, short_calls
from limen.kernels.c.compiler import FLAGS
from limen.shipping import build_library, calls_of_all, sources_of
from limen.warming import CHANNELS, calls_of

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1800)]
CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FEW = ("relu", "ash")


def results(activation, x):
    y = activation(x)
    return [y, *torch.autograd.grad(y.square().sum(), [x, *activation.parameters()])]


@pytest.fixture
def emulator(tmp_path, monkeypatch):
    library = tmp_path / "aarch64.so"
    # Without what makes short calls, which needs a Python of that processor.
    build_library(
        set(sources_of(calls_of_all(names()), ["float32"])) - {short_calls.source()}, library, CROSS, "aarch64", 2
    )
    emulator = Emulator(library, CROSS, [EMULATOR, "-L", "/usr/aarch64-linux-gnu"], tmp_path)

    def none(*_):
        raise build.NoCompilerError("Small calls are not emulated.")

    monkeypatch.setattr(build, "load", none)
    monkeypatch.setattr(calls, "_loaded", emulator.loaded)
    monkeypatch.setattr(calls, "_call", emulator.call)
    for cached in (calls.forward_function, calls.backward_function):
        cached.cache_clear()
    yield emulator
    for cached in (calls.forward_function, calls.backward_function):
        cached.cache_clear()


@pytest.mark.skipif(not (shutil.which(CROSS) and shutil.which(EMULATOR)), reason=f"needs {CROSS} and {EMULATOR}")
def test_all_built_in_activations_on_aarch64(emulator):
    """Forward and backward, in every layout, with one parameter for all and one a channel: the plain formula's."""
    for name in names():
        own = create(name)
        for form in [own, create(name, num_parameters=CHANNELS)] if list(own.parameters()) else [own]:
            form.eval()
            for activation, like in calls_of(form):
                x = torch.randn_like(like).requires_grad_()
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    found = results(activation, x)
                with limen.use_backend("plain"):
                    torch.testing.assert_close(found, results(activation, x), rtol=1e-4, atol=1e-5)
    assert len(emulator.called) > 80


@needs_gcc
@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
def test_kernels_for_avx512_are_those_for_avx2_in_wider_vectors(tmp_path):
    """On any processor: the functions are the same, and so are the names of what they call."""
    sources = set(sources_of(calls_of_all(FEW), ["float32"]))
    seen = {}
    for kind in shipped.X86:
        target = tmp_path / f"{kind}.so"
        build_library(sources, target, "gcc", kind, 2)
        told = [
            subprocess.run(["objdump", flag, target], capture_output=True, text=True).stdout for flag in ("-T", "-d")
        ]
        seen[kind] = {line.split()[-1] for line in told[0].splitlines() if " g " in line or "*UND*" in line}
        assert ("%zmm" in told[1]) == (kind == "x86-64-v4")
        assert "%ymm" in told[1]
        assert all(
            any(f"{shipped.prefix_of(source)}_{part}" in seen[kind] for part in shipped.EXPORTED) for source in sources
        )
    assert seen["x86-64-v4"] == seen["x86-64-v3"]


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs ziglang")
@pytest.mark.parametrize("machine", ["x86_64-windows-gnu", "aarch64-macos"])
def test_every_kernel_compiles_for_other_systems(tmp_path, machine):
    """By zig, which runs nothing: each object has functions that limen calls."""
    command = [sys.executable, "-m", "ziglang", "cc", "-target", machine, *FLAGS, "-fopenmp-simd", "-c"]

    def compiled(source):
        prefix = shipped.prefix_of(source)
        renamed = "".join(f"#define {name} {prefix}_{name}\n" for name in shipped.EXPORTED)
        (tmp_path / f"{prefix}.c").write_text(renamed + source)
        done = subprocess.run(
            [*command, f"{prefix}.c", "-o", f"{prefix}.o"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found = (tmp_path / f"{prefix}.o").read_bytes()
        return [name for name in shipped.EXPORTED if f"{prefix}_{name}\0".encode() in found]

    sources = sorted(set(sources_of(calls_of_all(names()), ["float32", "bfloat16", "float16"])))
    with ThreadPoolExecutor(2) as pool:
        for source, exported in zip(sources, pool.map(compiled, sources), strict=True):
            assert exported, source[:2000]
