"""MONAI, imported when it is needed."""

from __future__ import annotations

import importlib
from typing import Any

from limen.errors import MissingExtraError


def monai_part(part: str) -> Any:
    """A module of MONAI; without it, the command that installs it."""
    try:
        return importlib.import_module(f"monai.{part}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "--task segmentation needs MONAI; install it with: pip install 'limen[monai]'"
        ) from error
