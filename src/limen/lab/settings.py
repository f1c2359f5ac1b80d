"""What a study is: every choice that changes its numbers, validated and stored as ``study.json``."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from limen.lab.fields import Ends, SelectFields, StudyFields

EXTENDABLE = frozenset({"activations", "seeds", "device", "data_dir", "checkpoint_every", "log", "margin", "max_seeds"})
"""Settings that may differ when a study is resumed: they add runs, say where to run or judge runs, and change none."""
RATE_OF_SGD = 0.1
"""Where none is given: that of the papers' residual networks; 1e-3 is Adam's."""


class StudySettings(StudyFields, BaseModel):
    """The settings of a comparison, as :class:`.fields.StudyFields` declares them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _with_rate_of_sgd(cls, values: Any) -> Any:
        of_sgd = isinstance(values, dict) and values.get("optimizer") == "sgd"
        return {"learning_rate": RATE_OF_SGD, **values} if of_sgd else values

    def spec(self, name: str) -> str:
        """The activation's spec behind one of ``activations``."""
        return name

    @property
    def test_chooses(self) -> bool:
        """Whether the test set chooses the epoch, as the AdAct paper lets it."""
        return self.protocol == "paper"

    @property
    def falls(self) -> tuple[int, ...]:
        """The epochs after which ``--schedule step`` lowers the rate: as given, or half and three quarters of all."""
        usual = {self.epochs // 2, self.epochs * 3 // 4} - {0}
        return self.milestones or tuple(sorted(usual))


SEARCHED, OPTIMIZED = "adact", "optimized"
"""What the mixture's and the optimised network's runs are called, whatever the candidates."""


class SelectSettings(SelectFields, StudySettings):
    """The settings of a selection: a baseline, a mixture of candidates, and the network optimised by it."""

    @field_validator("temperature")
    @classmethod
    def _above_zero(cls, value: Ends | None) -> Ends | None:
        if value is not None and not all(math.isfinite(end) and end > 0 for end in value):
            raise ValueError("temperatures are finite numbers above 0")
        return value

    def spec(self, name: str) -> str:
        """The baseline's own spec; the mixture's is its name."""
        return SEARCHED if name in (SEARCHED, OPTIMIZED) else name
