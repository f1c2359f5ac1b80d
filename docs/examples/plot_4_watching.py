"""
What happens while it trains
============================

``limen.inspect.watch`` notes parameters and gradients at every step of an optimiser.
"""

import torch
from torch import nn

import limen

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 32), limen.ASH(), nn.Linear(32, 32), limen.ASH(), nn.Linear(32, 1))
x = torch.randn(128, 4)
y = x.square().sum(1, keepdim=True)

optimizer = torch.optim.Adam(limen.param_groups(model, 1e-2))
with limen.inspect.watch(model) as seen:
    for _ in range(80):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()

axes = seen.plot("z_k")
axes.figure

# %%
# What each activation receives, in numbers:

for site in limen.inspect.statistics(model, x):
    print(site.path, f"mean {site.mean:.3f}, deviation {site.deviation:.3f}, kept {site.kept:.0f} %")
