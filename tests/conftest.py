"""Every test starts from the same random state and leaves no registered names behind."""

import pytest
import torch

from limen.activations import registry


@pytest.fixture(autouse=True)
def _same_random_state():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _registry_restored(monkeypatch):
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))
