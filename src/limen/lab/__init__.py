"""The lab: data, networks, training, statistics and reports that find out which activation a model should use."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "plan_seeds":  # with all that a study needs, which who imports a part of the lab does not wait for
        return import_module("limen.lab.study.planning").plan_seeds
    raise AttributeError(f"module 'limen.lab' has no attribute {name!r}")
