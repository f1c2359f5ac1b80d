"""
Each layer's own choice
=======================

A mixture of candidates stands at every layer while the network learns; then each layer keeps its winner.
"""

import torch
from torch import nn

import limen

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))
limen.swap_(model, "adact:candidates=relu+tanh+swish")
x = torch.randn(256, 2)
y = torch.sin(2 * x[:, :1]) * x[:, 1:]

optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
for _ in range(150):
    optimizer.zero_grad()
    loss = (model(x) - y).square().mean()
    loss.backward()
    optimizer.step()
for place in (1, 3):
    print(dict(zip(model[place].names, model[place].weights.tolist(), strict=True)))

# %%
# The plan says what was chosen and how clearly; baking puts it in place.

plan = limen.select(model)
print(plan)
limen.bake_(model, plan)
print(model)
