"""On what a run is computed, as its settings say it: what cannot be is said before anything is trained."""

from __future__ import annotations

import os
import shutil

import torch

from limen.errors import SpecError
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.training.engine import Engine
from limen.lab.training.learner import Learner

COMPILERS = ("g++", "clang++", "c++", "cl")


def check(settings: StudySettings, *, divisible: bool = True) -> None:
    """Raise where there are no such devices, or they cannot compute so; ``divisible`` as a task says it."""
    kind = torch.device(settings.device).type
    _check_devices(settings, kind)
    _check_precision(settings, kind)
    if not divisible:
        _check_whole(settings, f"--task {settings.task}")
    if settings.compile and not _has_compiler():
        raise SpecError(
            f"--compile needs a C++ compiler ({', '.join(COMPILERS)}), and none was found; install one or leave it out."
        )


def _check_devices(settings: StudySettings, kind: str) -> None:
    wanted = settings.devices
    if wanted == 1:
        if settings.strategy != "auto":
            raise SpecError(f"--strategy {settings.strategy} is for several devices; add --devices 2, or leave it out.")
        return
    there = available(kind)
    if wanted > there and "TORCHELASTIC_RUN_ID" not in os.environ:
        what = {"cuda": "GPUs", "cpu": "processor cores"}.get(kind, f"devices of kind {kind}")
        raise SpecError(f"--devices {wanted} is more than there are: {there} {what}; give at most {there}.")
    if kind not in ("cpu", "cuda") or (kind == "cuda" and torch.device(settings.device).index):
        raise SpecError(
            f"--devices {wanted} and --device {settings.device} exclude each other; give --device cuda or cpu."
        )
    if "gradients" in settings.observe:
        raise SpecError(
            f"--observe gradients looks at whole batches, which --devices {wanted} divides; leave one of them out."
        )
    if settings.strategy == "fsdp" and isinstance(settings, SelectSettings):
        raise SpecError("--strategy fsdp shards the mixtures that a search reads; give --strategy ddp.")
    if settings.strategy == "fsdp" and settings.precision == "16-mixed":
        raise SpecError("--strategy fsdp and --precision 16-mixed exclude each other; give --precision bf16-mixed.")
    if wanted > settings.batch_size:
        raise SpecError(
            f"--devices {wanted} cannot share a batch of {settings.batch_size}; give a larger --batch-size."
        )


def _check_precision(settings: StudySettings, kind: str) -> None:
    if settings.precision == "16-mixed" and kind != "cuda":
        raise SpecError(
            f"--precision 16-mixed is for GPUs, and --device is {settings.device}; give --precision bf16-mixed or 32."
        )
    if settings.precision == "bf16-mixed" and kind not in ("cpu", "cuda"):
        raise SpecError(f"--precision bf16-mixed is for cuda and cpu, and --device is {settings.device}; give 32.")


def _check_whole(settings: StudySettings, what: str) -> None:
    """Raise where batches are to be divided or put together."""
    for name, option in (("devices", "--devices"), ("accumulate", "--accumulate")):
        if getattr(settings, name) > 1:
            raise SpecError(
                f"{option} {getattr(settings, name)} is not for {what}, whose step is more than one loss; leave it out."
            )


def require_divisible(settings: StudySettings, learner: Learner) -> None:
    """Raise where batches are to be divided, and the network's own way of learning does not allow it."""
    if not learner.divisible:
        _check_whole(settings, f"--network {settings.network}")


def engine_of(settings: StudySettings) -> Engine | None:
    """What computes, where it is more than one device in full precision."""
    if settings.devices == 1 and settings.precision == "32":
        return None
    # Lightning takes seconds to import.
    from limen.lab.training.fabric import FabricEngine

    return FabricEngine(settings)


def available(kind: str) -> int:
    """How many devices of a kind there are; of a processor its cores.

    >>> available("cpu") >= 1
    True
    """
    if kind == "cuda":
        return torch.cuda.device_count()
    if kind != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_compiler() -> bool:
    own = os.environ.get("CXX")
    return any(shutil.which(name) for name in ((own,) if own else COMPILERS))
