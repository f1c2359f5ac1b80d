"""Which versions are installed, by their own records: nothing is imported for it, torch neither."""

from __future__ import annotations

import platform
from importlib import metadata

import limen

PACKAGES = ("torch", "sympy", "numpy", "lightning", "torchmetrics", "scipy", "matplotlib", "pydantic", "triton")


def versions() -> dict[str, str]:
    """Of limen, Python and the packages that matter to limen.

    >>> versions()["limen"] == limen.__version__
    True
    """
    here = {"limen": limen.__version__, "python": platform.python_version()}
    return here | {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
