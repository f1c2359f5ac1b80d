"""A tiny recipe with its published table."""

from __future__ import annotations

from pathlib import Path

RECIPE = """
title = "A tiny one"
task = "classification"
method = "select"
source = "Nobody 2020, Table 9"
about = "For a test."
departures = ["It is tiny."]

[settings]
data = "digits"
network = "mlp"
candidates = ["relu", "silu"]
seeds = 2
epochs = 2
protocol = "both"
limit_train = 300
limit_test = 100

[quick]
epochs = 1
limit_train = 200

[published]
table = "tiny.csv"
layers = "layers.csv"
data = "DIGITS"
train_images = 300
test_images = 100
"""
TABLE = """data,network,metric,value,source
DIGITS,relu,test_accuracy,0.91,"Nobody 2020, Table 9"
DIGITS,adact,test_accuracy,0.92,"Nobody 2020, Table 9"
OTHER,adact,test_accuracy,0.5,"Nobody 2020, Table 9"
"""
LAYERS = """data,layer,claim,candidates,words,source
DIGITS,1,largest,silu,SiLU leads,"Nobody 2020"
DIGITS,2,least,relu,ReLU is last,"Nobody 2020"
"""


def written(folder: Path, text: str = RECIPE, table: str = TABLE) -> Path:
    (folder / "tiny.csv").write_text(table)
    (folder / "layers.csv").write_text(LAYERS)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
