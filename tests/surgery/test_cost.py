"""What a swap costs grows with the model, not with its square. Counted in calls of functions: times vary."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        x = self.act(self.a(x))
        return F.gelu(self.b(x)) + x


def calls(function: Callable[[], Any]) -> tuple[int, Any]:
    """How many calls of Python and C functions it takes, and its result."""
    count = 0

    def note(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event.endswith("call")

    sys.setprofile(note)
    try:
        result = function()
    finally:
        sys.setprofile(None)
    return count, result


def flat(count: int) -> nn.Module:
    return nn.Sequential(*[nn.ReLU() for _ in range(count)])


def layers(count: int) -> nn.Module:
    return nn.Sequential(*[part for _ in range(count) for part in (nn.Linear(4, 4), nn.ReLU(inplace=True))])


def blocks(count: int) -> nn.Module:
    return nn.Sequential(*[Block() for _ in range(count // 2)])


@pytest.mark.parametrize("options", [{}, {"example_inputs": torch.randn(2, 4)}, {"num_parameters": "channel"}])
@pytest.mark.parametrize("build", [flat, layers, blocks])
def test_cost_grows_with_the_model(build, options):
    if build is flat and "num_parameters" in options:
        pytest.skip("no layer tells how many channels there are")
    limen.swap_(build(2), "asau", **options)  # what is prepared once is prepared here
    found = {}
    for count in (20, 40):
        model = build(count)
        swapping, report = calls(lambda model=model: limen.swap_(model, "asau", **options))
        assert len(report.sites) == count
        printing, _ = calls(lambda report=report: str(report))
        undoing, _ = calls(report.undo)
        found[count] = (swapping, printing, undoing)
    for small, large in zip(*found.values(), strict=True):
        assert large < 2.2 * small


def test_a_source_is_compiled_once_for_all_instances_of_a_class():
    compiled = []
    for count in (2, 20):
        model, before = blocks(count), len(compiled)

        def note(_: Any, event: str, what: Any) -> None:
            if event == "c_call" and what is compile:
                compiled.append(what)

        sys.setprofile(note)
        try:
            limen.swap_(model, "asau")
        finally:
            sys.setprofile(None)
        assert len(compiled) - before <= 2
