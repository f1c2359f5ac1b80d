"""
A study
=======

Every activation is trained with the same seeds, first weights and batches, and one sentence says what came of it. The
words are those of the terminal, ``limen compare --data digits …``; three epochs of a small network take seconds.
"""

import csv
import shlex
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from limen.cli import application

out = Path(tempfile.mkdtemp()) / "study"
words = (
    "compare --data digits --network mlp --activations relu,gelu,asau --seeds 4 --epochs 3 --limit-train 400 --jobs 1"
)
application()([*shlex.split(words), "--out", str(out)], standalone_mode=False)

# %%
# Its folder holds the report, a page that needs no network, the tables, and a record of each run. The tables are for
# other programs; here the differences from the baseline with their 95 % intervals, in percentage points:

with open(out / "summary.csv", encoding="utf-8") as file:
    rows = [row for row in csv.DictReader(file) if row["verdict"] not in ("baseline", "timed only")]
differences = [100 * float(row["difference"]) for row in rows]
reach = [100 * (float(row["difference_high"]) - float(row["difference_low"])) / 2 for row in rows]

figure, axes = plt.subplots(figsize=(6, 2))
axes.errorbar(differences, [row["activation"] for row in rows], xerr=reach, fmt="o", capsize=4)
axes.axvline(0, color="grey", linewidth=1)
axes.margins(y=0.4)
axes.set_xlabel("test accuracy, difference from relu (points)")
figure.tight_layout()

# %%
# Four seeds of a run so short tell little, and the verdicts say so:

for row in rows:
    print(f"{row['activation']}: {row['verdict']}; shows differences of {float(row['detectable']):.1f} points")
