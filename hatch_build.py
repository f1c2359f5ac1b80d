"""What a wheel has beside the package: the kernels in build/kernels, where `make kernels` has built some.

With them it is a wheel of one platform, whichever Python: nothing in the libraries belongs to a version of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORMS = {
    "x86-64-v3": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "x86-64-v4": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "aarch64": "manylinux_2_17_aarch64.manylinux2014_aarch64",
}


class Kernels(BuildHookInterface[Any]):
    """Add the libraries of one platform to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built; an editable one has no libraries, as its sources are there to change."""
        folder = Path(self.root, os.environ.get("LIMEN_KERNELS", "build/kernels"))
        found = sorted(folder.glob("*.so")) if version == "standard" else []
        platforms = {PLATFORMS[path.stem] for path in found}
        if len(platforms) > 1:
            raise ValueError(
                f"{folder} has kernels of several platforms; a wheel is for one: LIMEN_KERNELS names a folder."
            )
        for path in found:
            build_data["force_include"][str(path)] = f"limen/kernels/c/libraries/{path.name}"
        if platforms:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platforms.pop()}"
