"""What is installed, what hardware there is, and by which path activations are computed here."""

from __future__ import annotations

import platform

import torch

from limen.installed import versions
from limen.kernels.c import build, shipped, short_calls
from limen.kernels.c.threads import entry_points
from limen.kernels.dispatch import why_no_triton
from limen.kernels.triton.build import interpreted


def diagnose() -> dict[str, dict[str, str]]:
    """Versions, devices and the path, by section.

    >>> sorted(diagnose())
    ['devices', 'kernels', 'path', 'versions']
    """
    return {
        "versions": versions(),
        "devices": _devices(),
        "path": _paths(),
        "kernels": _kernels(),
    }


def _devices() -> dict[str, str]:
    found = {"cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 1e9
        found[f"cuda:{index}"] = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def _paths() -> dict[str, str]:
    """For each kind of device the path that ``auto`` takes there, and why not another."""
    return {"cpu": _cpu_path(), "gpu": _gpu_path()}


def _cpu_path() -> str:
    try:
        gone = build.find_compiler().gone
    except build.NoCompilerError as error:
        if shipped.library() is not None:
            return (
                f"c (the kernels that came with limen; plain for other formulas, because there is no compiler: {error})"
            )
        return f"plain (torch's operators, because there is no compiler: {error})"
    if gone:
        return "c (the kernels in the cache, for there is no compiler any more; plain where there is none)"
    return "c (kernels compiled from each formula, for float32, bfloat16 and float16; float64 is plain)"


def _gpu_path() -> str:
    reason = why_no_triton()
    if not reason and interpreted():
        return "triton, interpreted: within use_backend('triton') its kernels run on CPU tensors, slowly"
    there = torch.cuda.is_available() or torch.xpu.is_available()
    if not reason and there:
        return "triton (kernels compiled from each formula, for float32, bfloat16 and float16; float64 is plain)"
    return f"plain (torch's operators, without Triton: {reason})" if there else f"none ({reason})"


def _shipped() -> str:
    """The library of kernels that is used here."""
    kind = shipped.processor()
    path = shipped.path_for(kind)
    if path is None:
        there = sorted(file.stem for file in shipped.FOLDER.glob("*.so"))
        return (
            f"none for this processor (there are some for {', '.join(there)})" if there else "none (as in a checkout)"
        )
    return f"{path} ({path.stat().st_size / 1e6:.1f} MB, for {kind})"


def _kernels() -> dict[str, str]:
    """Where kernels come from: the package, the compiler, the folder of compiled ones."""
    own = {"came with limen": _shipped()}
    try:
        compiler = build.find_compiler()
        gone = f"; gone: {compiler.gone}" if compiler.gone else ""
        found = own | {"compiler": f"{compiler.path} ({compiler.version}){gone}", "flags": " ".join(compiler.flags)}
    except build.NoCompilerError as error:
        found = own | {"compiler": f"none: {error}"}
    found["threads"] = "torch's own" if any(entry_points()) else "one (torch's own cannot be reached)"
    reason = short_calls.why_not_native()
    found["small calls"] = f"made in Python, which takes longer: {reason}" if reason else "made in C"
    files, size = build.cache_size()
    found["cache"] = f"{build.cache_folder()} ({files} files, {size / 1e6:.1f} MB)"
    trouble = build.cache_trouble()
    return {**found, "trouble": trouble} if trouble else found
