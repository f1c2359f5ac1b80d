"""Where a run goes on from when it was ended in the middle: written after so many epochs, gone when it is done."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limen.lab.settings import EXTENDABLE, OF_TUNING
from limen.lab.training import processes
from limen.lab.training.experiment import Experiment

FOLDER = "checkpoints"
"""In the study's."""


class Checkpoints:
    """Of one run. Without ``--checkpoint-every``, or a folder to write to, there is none."""

    def __init__(self, experiment: Experiment, activation: str, seed: int) -> None:
        settings = experiment.settings
        self.every = settings.checkpoint_every
        self.path = None if experiment.place is None else _path(experiment.place, activation, seed)
        lasting = settings.model_dump(mode="json", exclude=set(EXTENDABLE | OF_TUNING))
        self.of = repr((activation, seed, sorted(lasting.items()), len(experiment.data.train)))

    def due(self, epoch: int) -> bool:
        """Whether the epoch that has ended is one of those after which a run is kept."""
        return self.every is not None and self.path is not None and epoch % self.every == 0

    def write(self, state: dict[str, Any]) -> None:
        """Whole or not at all; in several processes the first writes what each has drawn."""
        assert self.path is not None
        drawn = processes.gathered(random_states())
        if processes.rank() > 0:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            torch.save({"of": self.of, "drawn": drawn, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def read(self) -> dict[str, Any] | None:
        """What was written last; None where there is nothing, or nothing that can be used: the run then begins anew."""
        if self.path is None or not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            return None
        usable = isinstance(state, dict) and state.get("of") == self.of and len(state["drawn"]) == processes.count()
        return state if usable else None

    def remove(self) -> None:
        """The run is done."""
        if self.path is not None and processes.rank() == 0:
            self.path.unlink(missing_ok=True)


def random_states() -> dict[str, Any]:
    """Of every generator that a network may draw from; that of limen's activations is part of torch's."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def draw_from(states: dict[str, Any]) -> None:
    """Undo :func:`random_states`."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])


def _path(place: Path, activation: str, seed: int) -> Path:
    slug = re.sub(r"[^a-z0-9_]+", "-", activation.lower()).strip("-")[:60]
    return place / FOLDER / f"{slug}-{hashlib.sha256(activation.encode()).hexdigest()[:8]}-seed{seed}.pt"
