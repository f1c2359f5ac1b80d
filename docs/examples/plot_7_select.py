"""
A selection
===========

``limen select`` for every seed: it trains the baseline, a network whose layers mix candidates, and from scratch the
network that this search chose. The plan over all seeds is a file that any model can take.
"""

import shlex
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import limen
from limen.cli import application
from limen.lab.networks.mlp import MLP

out = Path(tempfile.mkdtemp()) / "selection"
words = (
    "select --data digits --network mlp --candidates relu,tanh,swish --seeds 2 --epochs 3 --limit-train 400 "
    "--activation-lr 0.1 --jobs 1"
)
application()([*shlex.split(words), "--out", str(out)], standalone_mode=False)

# %%
# What each layer chose, how clearly, and what to beware of:

plan = limen.Plan.load(out / "plan.json")
print(plan)

figure, axes = plt.subplots(figsize=(6, 2.2))
left = [0.0] * len(plan.sites)
for name in plan.sites[0].candidates:
    share = [site.weights[name] for site in plan.sites]
    axes.barh([site.path for site in plan.sites], share, left=left, label=name)
    left = [before + more for before, more in zip(left, share, strict=True)]
axes.set_xlabel("weight, mean over seeds")
axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
figure.tight_layout()

# %%
# Built into a fresh network, to train from scratch (``limen.bake_`` builds it into the one that was searched):

fresh = MLP((1, 8, 8), 10)
print(limen.apply_(fresh, plan))
