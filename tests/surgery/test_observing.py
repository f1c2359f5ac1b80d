"""What a run shows: functions called outside the new activations, and what arrives at a site."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import limen
from limen.surgery.observing import observe, still_running
from limen.warmstart import Arguments

FUNCTIONS = {"bend": torch.tanh}
"""Called by a name that no source shows."""


class BeforeAndAfter(nn.Module):
    def __init__(self, *before: str, after: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.act, self.before, self.after = limen.ReLU(), before, after

    def forward(self, x: Tensor) -> Tensor:
        for name in self.before:
            x = FUNCTIONS[name](x)
        x = self.act(x)
        for name in self.after:
            x = FUNCTIONS[name](x)
        return x


def found(model: BeforeAndAfter) -> list[str]:
    return still_running(model, [model.act], set(), [Arguments((torch.randn(2, 3),))])


def test_functions_are_seen_before_and_after_an_activation_and_not_within_it() -> None:
    with limen.use_backend("plain"):  # on which limen's ReLU calls torch's functions
        assert found(BeforeAndAfter()) == []
        for model in (BeforeAndAfter("bend"), BeforeAndAfter(after=("bend",))):
            (said,) = found(model)
            assert said.endswith(": tanh, seen while the model ran")
            assert "test_observing.py" in said


def test_what_arrives_without_channels_counts_as_one() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(x).sum() + self.act(x.sum())

    model = Both()
    seen = observe(model, {"act": model.act}, [Arguments((torch.randn(2, 3),))])["act"]
    assert seen.channels is not None
    assert seen.channels.count == 3
    assert seen.other is not None
    assert seen.other.count == 1
