"""Surgery takes care: of what it was told to keep, of overwritten inputs, of lists, of failures and of undo."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(5, 4)


class Remembering(nn.Module):
    """Holds a tensor with a history, which cannot be deep-copied."""

    def forward(self, x):
        self.loss = (x * x).mean()
        return x


class Locked(nn.Module):
    """Holds a lock, which cannot be deep-copied either."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        with self.lock:
            return x


@pytest.mark.parametrize("other", [Remembering, Locked])
def test_a_module_that_cannot_be_copied_is_no_obstacle(other, x):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), other())
    model(x)
    assert [site.path for site in limen.swap_(model, "asau").sites] == ["1"]


class Residual(nn.Module):
    """Its branch overwrites what the shortcut adds."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))

    def forward(self, x):
        return x + self.body(x)


class Statement(nn.Module):
    """Relies on the overwriting alone."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        F.relu(x, inplace=True)
        return self.last(x)


@pytest.mark.parametrize("block", [Residual, Statement])
def test_a_second_swap_still_overwrites(block, x):
    model = nn.Sequential(nn.Linear(4, 4), block())
    before = model(x)
    limen.swap_(model, "swish")
    assert not torch.equal(model(x), before)
    limen.swap_(model, "relu")
    torch.testing.assert_close(model(x), before)
