"""What feeds an activation, as far as the source shows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError


class Recurrent(nn.Module):
    """A name bound anew by a tuple."""

    def __init__(self):
        super().__init__()
        self.layer, self.lstm = nn.Linear(4, 6), nn.LSTM(6, 8, batch_first=True)

    def forward(self, x):
        x = self.layer(x)
        x, _ = self.lstm(x)
        return F.relu(x)


class Product(nn.Module):
    """A matrix product changes the channels."""

    def __init__(self):
        super().__init__()
        self.layer, self.weight = nn.Linear(4, 6), nn.Parameter(torch.randn(6, 8))

    def forward(self, x):
        return F.relu(self.layer(x) @ self.weight)


class Matrix(Product):
    """The same, written shorter."""

    def forward(self, x):
        x = self.layer(x)
        x @= self.weight
        return F.relu(x)


class Loop(Product):
    """A name bound by a loop."""

    def forward(self, x):
        y = x = self.layer(x)
        for y in (x @ self.weight,):  # noqa: B007
            pass
        return F.relu(y)


class Round(Product):
    """A name bound further down in a loop, for the next round."""

    def forward(self, x):
        x = self.layer(x)
        for weight in (self.weight, self.weight.T):
            x = F.relu(x)
            x = torch.matmul(x, weight)
        return x


class Inner(Product):
    """The argument of an inner function, and the variable of a comprehension."""

    def forward(self, x):
        y = self.layer(x)
        (z,) = [F.relu(y) for y in [torch.matmul(y, self.weight)]]
        return z


class Named(Product):
    """A name bound within an expression."""

    def forward(self, x):
        y = self.layer(x)
        if (y := torch.matmul(y, self.weight)).ndim:
            y = F.relu(y)
        return y


@pytest.mark.parametrize("network", [Recurrent, Product, Matrix, Loop, Round, Inner, Named])
def test_channels_are_not_guessed_past_a_new_binding(network):
    with pytest.raises(LimenError, match="cannot be told"):
        limen.swap_(network(), "asau", num_parameters="channel")


class Sum(nn.Module):
    """Sums in place, and in a loop, keep the channels."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)

    def forward(self, x):
        y = self.first(x)
        y += self.second(y)
        y = F.relu(y)
        for _ in range(2):
            z = self.second(y)
            z += y
            y = F.gelu(z, approximate="tanh")
        return y


def test_channels_are_followed_through_sums():
    model = Sum()
    limen.swap_(model, "asau", num_parameters="channel")
    assert {m.num_parameters for m in model.modules() if isinstance(m, limen.ASAU)} == {6}
    model(torch.randn(3, 4))


class Residual(nn.Module):
    """What it is given is added to what its layer makes of it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        return F.relu(x + self.layer(x))


def test_channels_are_followed_through_blocks_that_ask_for_what_comes_before_them():
    """The last layer of a block asks for what feeds the block, in the Sequential whose layers are looked for."""
    model = nn.Sequential(nn.Conv2d(3, 6, 1), Residual(), Residual(), nn.ReLU(), nn.Flatten())
    limen.swap_(model, "asau", num_parameters="channel")
    assert [m.num_parameters for m in model.modules() if isinstance(m, limen.ASAU)] == [6, 6, 6]
