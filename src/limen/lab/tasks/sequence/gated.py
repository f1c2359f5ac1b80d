"""Gated recurrent networks for recognising sequences, written out so that their candidate's activation can be replaced.

Sequences come as (N, T, F + 1), padded at their end; the last feature is 1 at the steps that there are. A padded step
leaves the state as it was, so the state after the last column is the state after the last step there is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GRUCell(nn.Module):
    """A layer of gated recurrent units. Cho et al. 2014, arXiv 1406.1078, in the form of torch's and cuDNN's GRU.

    r = σ(W_r·x + U_r·h),  z = σ(W_z·x + U_z·h),  c = f(W_c·x + r ⊙ U_c·h),  h ← z ⊙ h + (1 − z) ⊙ c.

    f, where the textbook has tanh, is the module ``activation``; the gates stay sigmoids, because a gate weighs and
    does not activate.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.input = nn.Linear(in_features, 3 * width)
        self.recurrent = nn.Linear(width, 3 * width)
        self.gate = nn.Sigmoid()
        self.activation = nn.ReLU()
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)  # as torch's GRU starts

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What is given out after every step, (N, T, width), and the last step's, (N, width)."""
        # Split once: taking a step out by its index would make every step's gradient as large as the sequence.
        driven = self.input(x).unbind(1)
        there = None if bool(mask.all()) else mask.unbind(1)
        state = x.new_zeros(len(x), self.width)
        states = []
        for step in range(x.shape[1]):
            new = self.next(driven[step], self.recurrent(state), state)
            state = new if there is None else torch.where(there[step], new, state)
            states.append(state)
        return self.given(torch.stack(states, 1)), self.given(state)

    def next(self, driven: Tensor, recurred: Tensor, state: Tensor) -> Tensor:
        """The state after a step, from W·x and U·h of all three parts and from h."""
        parts = [2 * self.width, self.width]
        (gates, new), (recurred_gates, recurred_new) = torch.split(driven, parts, 1), torch.split(recurred, parts, 1)
        reset, update = self.gate(gates + recurred_gates).chunk(2, 1)
        candidate = self.activation(torch.addcmul(new, reset, recurred_new))
        return torch.lerp(candidate, state, self.weighed(update, reset))

    def weighed(self, update: Tensor, reset: Tensor) -> Tensor:
        """The update gate as it weighs the past."""
        return update

    def given(self, state: Tensor) -> Tensor:
        """What the layer gives out of its state."""
        return state


class MOPGRUCell(GRUCell):
    """The changed unit of MOPGRU. Subramanian et al. 2022, Scientific Reports 12, 11964.

    The abstract says: the update gate is multiplied by the reset gate; ELU stands in place of tanh; softsign stands
    in place of softmax "in the output layer of the GRU cell". The article's equations were not at hand, so this is
    our reading:

    - z' = z ⊙ r, and h ← z' ⊙ h + (1 − z') ⊙ c: of the two ways to write a GRU the one in which a small product
      means more attention to the present input, which is what the abstract says the change is for;
    - softsign(h) = h / (1 + |h|) is what a layer gives out, to the next layer or to the head; its own state stays h;
    - f is the module ``activation``, a ReLU here as in every network of the lab; ``elu`` makes it the paper's.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__(in_features, width)
        self.output = nn.Softsign()

    def weighed(self, update: Tensor, reset: Tensor) -> Tensor:
        """The product of both gates."""
        return update * reset

    def given(self, state: Tensor) -> Tensor:
        """Between −1 and 1."""
        output: Tensor = self.output(state)
        return output


class GRU(nn.Module):
    """One layer of 64 gated recurrent units, and a linear layer on its last state."""

    WIDTH = 64

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.cell = GRUCell(in_features - 1, self.WIDTH)
        self.head = nn.Linear(self.WIDTH, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, classes), of padded sequences (N, T, F + 1)."""
        _, last = self.cell(x[:, :, :-1], x[:, :, -1:] > 0)
        logits: Tensor = self.head(last)
        return logits


class MOPGRU(nn.Module):
    """Three layers of 128, 64 and 32 changed units, and a linear layer on the last output.

    Widths, batch normalisation and dropout of 0.2 after the first two layers: the authors' public description of the
    network (github.com/barathi-1993). It has dense layers of unstated width before its last; here there is none.
    Softmax is in the loss.
    """

    WIDTHS = (128, 64, 32)
    DROPOUT = 0.2

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        before = (in_features - 1, *self.WIDTHS[:-1])
        self.cells = nn.ModuleList(MOPGRUCell(*sizes) for sizes in zip(before, self.WIDTHS, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in self.WIDTHS[:-1])
        self.dropout = nn.Dropout(self.DROPOUT)
        self.head = nn.Linear(self.WIDTHS[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, classes), of padded sequences (N, T, F + 1)."""
        x, mask = x[:, :, :-1], x[:, :, -1:] > 0
        for cell, norm in zip(self.cells, self.norms, strict=False):
            x, _ = cell(x, mask)
            x = self.dropout(_normalised(norm, x, mask))
        _, last = self.cells[-1](x, mask)
        logits: Tensor = self.head(last)
        return logits


def _normalised(norm: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Batch normalisation over the steps that there are; padded ones become 0."""
    there = mask[:, :, 0]
    return torch.zeros_like(x).index_put((there,), norm(x[there]))
