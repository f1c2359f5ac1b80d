"""What a study is: every choice that changes its numbers, validated and stored as ``study.json``."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

EXTENDABLE = frozenset({"activations", "seeds", "device", "data_dir"})
"""Settings that may differ when a study is resumed: they add runs or say where to run, and change no run."""


class StudySettings(BaseModel):
    """The settings of a comparison. The defaults are AdAct's published protocol (Adam 1e-3, batch 64/1000)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = "classification"
    data: str
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    grey: bool = False
    target: str | None = None
    """The column to predict."""
    time: str | None = None
    """The column that orders the rows; None: found by its name or its values."""
    window: int = Field(20, ge=2)
    """Rows before the one to forecast that the network sees."""
    ignore_label: int | None = Field(None, ge=0, le=255)
    """The value of a mask's pixels that are neither learned nor counted; None: 255 where masks have several classes."""
    foreground: bool = False
    """One class of every mask value but 0."""
    intensity: tuple[float, float] | None = None
    """What of a scan's values is black and what is white; None: a CT's −160…240, percentiles of others."""
    normal_class: str | None = None
    """The class that anomalies are told from; None: as the folders say it."""
    split: Literal["random", "blocks"] = "random"
    """How images that come undivided are divided: at random, or by blocks of consecutive names."""
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
    activation_lr: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Learning rate of the activations' own parameters; None: that of the rest."""
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    protocol: Literal["honest", "paper", "both"] = "honest"
    """``both``: as honest, and after every epoch the test accuracy is noted as well, which chooses nothing."""
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    test_fraction: float = Field(0.2, gt=0, lt=1)
    split_seed: int = Field(0, ge=0, lt=2**32)
    channels_last: bool = False
    """Keep weights and feature maps with channels innermost: faster convolutions, other rounding."""
    observe: tuple[Literal["gradients", "inputs"], ...] = ()
    """What every run notes beside its scores: gradients by depth while it trains, what its activations receive then."""
    device: str = "cpu"

    def spec(self, name: str) -> str:
        """The activation's spec behind one of ``activations``."""
        return name

    @property
    def test_chooses(self) -> bool:
        """Whether the test set chooses the epoch, as the AdAct paper lets it."""
        return self.protocol == "paper"


SEARCHED, OPTIMIZED = "adact", "optimized"
"""What the mixture's and the optimised network's runs are called, whatever the candidates."""


class SelectSettings(StudySettings):
    """The settings of a selection: a baseline, a mixture of candidates, and the network optimised by it."""

    kind: Literal["select"]
    candidates: tuple[str, ...] = Field(min_length=2)
    rule: Literal["largest", "grouped"] = "largest"
    temperature: tuple[float, float] | None = None
    """Start and end of a geometric schedule."""
    entropy: tuple[float, float] = (0.0, 0.0)
    """Start and end of the factor of the weights' entropy in the loss, a straight line."""
    sampling: Literal["none", "gumbel", "straight_through", "gumbel_straight_through"] = "none"
    weights_from: float | None = Field(None, gt=0, lt=1)
    """The fraction of the training images on which the weights learn, and the network does not; None: both from all."""
    drop_below: float | None = Field(None, gt=0, lt=1)
    """After each epoch candidates with less weight are taken out."""

    @field_validator("temperature")
    @classmethod
    def _above_zero(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not all(math.isfinite(end) and end > 0 for end in value):
            raise ValueError("temperatures are finite numbers above 0")
        return value

    def spec(self, name: str) -> str:
        """The baseline's own spec; the mixture's is its name."""
        return SEARCHED if name in (SEARCHED, OPTIMIZED) else name
