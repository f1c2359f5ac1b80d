"""MONAI, imported when it is needed."""

from __future__ import annotations

from types import ModuleType

from limen.errors import require


def monai_part(part: str) -> ModuleType:
    """A module of MONAI; without it, the command that installs it."""
    return require(f"monai.{part}", "monai", "--task segmentation needs MONAI")
