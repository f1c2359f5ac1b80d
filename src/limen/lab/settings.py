"""What a study is: every choice that changes its numbers, validated and stored as ``study.json``."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from typing_extensions import Self

from limen.lab.fields import Ends, SelectFields, StudyFields
from limen.lab.rates import activation_of, values_of

EXTENDABLE = frozenset(
    {
        "activations", "seeds", "device", "data_dir", "checkpoint_every", "log", "margin", "max_seeds", "own",
        "trials", "trial_seeds",
    }
)  # fmt: skip
"""Settings that may differ when a study is resumed: they add runs, say where to run or judge runs, and change none."""
OF_TUNING = frozenset({"tune"})
"""What a study may get later and then keeps: it adds runs and changes none, but says what was tried."""
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
        """The activation's spec behind one of :attr:`compared`."""
        return activation_of(name)

    @property
    def compared(self) -> tuple[str, ...]:
        """What there are runs of: every activation, and of a tuned study every one at its own rates as well."""
        return (*self.activations, *(name for name in self.own if activation_of(name) in self.activations))

    def against(self, name: str) -> str:
        """What one of :attr:`compared` is compared with: the baseline as it is, or that at its own rates."""
        tuned = (own for own in self.own if activation_of(own) == self.baseline)
        return next(tuned, self.baseline) if name in self.own else self.baseline

    def of(self, name: str) -> Self:
        """The settings that one of :attr:`compared`, or a trial, is trained with."""
        return self.model_copy(update=values_of(name))

    def same_as(self, name: str) -> str:
        """The activation whose runs at the shared rates are those of this one at its own; empty where they are not."""
        values = values_of(name)
        as_shared = values and all(getattr(self, setting) == value for setting, value in values.items())
        return activation_of(name) if as_shared else ""

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
