"""What a study is: every choice that changes its numbers, validated and stored as ``study.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

EXTENDABLE = frozenset({"activations", "seeds", "device", "data_dir"})
"""Settings that may differ when a study is resumed: they add runs or say where to run, and change no run."""


class StudySettings(BaseModel):
    """The settings of a comparison. The defaults are AdAct's published protocol (Adam 1e-3, batch 64/1000)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    grey: bool = False
    limit_train: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)
    network: str = "convnet"
    activations: tuple[str, ...] = Field(min_length=1)
    baseline: str
    seeds: tuple[int, ...] = Field(min_length=1)
    epochs: int = Field(15, ge=1)
    batch_size: int = Field(64, ge=2)
    """At least 2, because batch normalisation has no variance over a single image."""
    eval_batch_size: int = Field(1000, ge=1)
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    protocol: Literal["honest", "paper"] = "honest"
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    test_fraction: float = Field(0.2, gt=0, lt=1)
    split_seed: int = Field(0, ge=0, lt=2**32)
    device: str = "cpu"
