"""
A ResNet of your own
====================

A small residual network as anyone writes it: modules, functions in ``forward`` and a shared one. Each activation is
replaced where it stands, and the report says so.
"""

import torch
from torch import nn
from torch.nn import functional as F

import limen


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        """The sum of both ways."""
        return F.relu(x + self.second(self.act(self.norm(self.first(x)))))


torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
)
images = torch.randn(16, 3, 12, 12)

# %%
# What was found, and where:

report = limen.swap_(model, "asau")
print(report)

# %%
# It trains as before; the activations' parameters stay out of weight decay.

optimizer = torch.optim.AdamW(limen.param_groups(model, lr=1e-2, weight_decay=1e-2))
for _ in range(5):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), torch.arange(16) % 10)
    loss.backward()
    optimizer.step()
print(f"{loss.item():.3f}")
axes = limen.inspect.curves(model)
axes.figure
