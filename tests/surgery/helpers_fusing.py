"""Small models that spell pairs in every way, and what must hold of a fused model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limen

WIDTH = 4


class Block(nn.Module):
    """What the spellings share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)  # a bias before a norm has no gradient but noise
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(WIDTH), nn.BatchNorm2d(WIDTH)
        self.act1, self.act2, self.relu = limen.ASAU(), limen.ASAU(b=0.9), nn.ReLU(inplace=True)
        self.pass1, self.drop = nn.Identity(), None
        self.down: nn.Module | None = None


class Nested(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.act2(self.pass1(self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))))


class Stepwise(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.bn1(x)
        x = self.pass1(x)
        if self.drop is not None:
            x = self.drop(x)
        x = self.act1(x)
        return F.relu(self.bn2(self.conv2(x)), inplace=True)


class Residual(Block):
    """As torchvision writes it."""

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.down is not None:
            identity = self.down(x)
        out += identity
        return self.relu(out)


class ResidualFirst(Block):
    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv1(x))
        y = self._shortcut(x) + out
        z = self.act2(y)
        return torch.relu(self.bn1(self.conv2(z)) + z)

    def _shortcut(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :-1], (0, 0, 0, 0, 0, 1))


class Gates(Block):
    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.conv1(x).chunk(2, 1)
        y = self.act1(gate) * up
        y = torch.cat([y, F.silu(self.conv2(x)[:, 2:]) * y], 1)
        hidden = self.act2(self.conv1(y))
        linear = self.conv2(y)
        y = hidden * linear
        return y * F.relu(self.bn1(x)) + x * self.act2(self.conv2(x))


SPELLINGS: dict[type[Block], list[str]] = {
    Nested: ["norm", "norm"],
    Stepwise: ["norm", "norm"],
    Residual: ["norm", "norm and sum"],
    ResidualFirst: ["norm and sum", "norm and sum"],
    Gates: ["gate", "gate", "gate", "gate", "norm"],
}


def inputs() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, WIDTH, 24, 24)


def trained(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs, gradients and buffers after a step as in training, and outputs in evaluation."""
    model.train()
    x = x.clone().requires_grad_()
    y = model(x)
    y = y if isinstance(y, Tensor) else y.logits
    torch.manual_seed(2)
    learned = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(y, [x, *learned], torch.randn_like(y), allow_unused=True)
    model.eval()
    with torch.no_grad():
        after = model(x)
    buffers = [buffer.clone() for buffer in model.buffers()]
    return [y.detach(), *(g for g in found if g is not None), *buffers, after]


def assert_close(found: list[Tensor], wanted: list[Tensor], rtol: float = 1e-4) -> None:
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        scale = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * scale + 1e-7)


def assert_fused_is_the_same(model: nn.Module, x: Any, rtol: float = 1e-4) -> limen.FuseReport:
    """Fused, copied, undone: the same numbers, the same state dict, the same classes."""
    plain, classes = copy.deepcopy(model), [type(module) for module in model.modules()]
    state: Any = model.state_dict()
    report = limen.fuse_(model)
    after: Any = model.state_dict()
    assert list(after) == list(state)
    assert after._metadata == state._metadata
    assert_close(trained(copy.deepcopy(model), x), trained(copy.deepcopy(plain), x), rtol)
    plain.load_state_dict(after)
    model.load_state_dict(state)
    changed = list(report.changed)
    report.undo()
    assert [type(module) for module in model.modules()] == classes
    report.redo(changed)
    return report
