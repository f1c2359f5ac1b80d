"""What is installed, what hardware there is, and by which path activations are computed here."""

from __future__ import annotations

import platform
from importlib import metadata

import torch

import limen

PACKAGES = ("torch", "sympy", "numpy", "lightning", "torchmetrics", "scipy", "matplotlib", "pydantic", "triton")


def diagnose() -> dict[str, dict[str, str]]:
    """Versions, devices and the path, by section.

    >>> diagnose()["path"]["cpu"].startswith("plain")
    True
    """
    return {
        "versions": {"limen": limen.__version__, "python": platform.python_version(), **_versions()},
        "devices": _devices(),
        "path": _paths(),
    }


def _versions() -> dict[str, str]:
    installed = {distribution.name.lower(): distribution.version for distribution in metadata.distributions()}
    return {package: installed.get(package, "not installed") for package in PACKAGES}


def _devices() -> dict[str, str]:
    found = {"cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 1e9
        found[f"cuda:{index}"] = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def _paths() -> dict[str, str]:
    """This version has one path; the reason says so."""
    reason = "plain (torch operators differentiated by autograd; this version has no compiled kernels)"
    return dict.fromkeys(["cpu", *(["cuda"] if torch.cuda.is_available() else [])], reason)
