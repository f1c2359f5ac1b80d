"""Fixtures of several files about studies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers_lab import briefly
from helpers_tuning import World

from limen.lab.training import cost
from limen.lab.training import run as training


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World()
    monkeypatch.setattr(training, "attempt", found.attempt)
    monkeypatch.setattr(training, "run", found.run)
    monkeypatch.setattr(cost, "measure", lambda *_: ())
    with briefly():
        yield found
