"""A number that nothing here is made for is refused at once, before anything is read or made."""

from __future__ import annotations

import pytest
import torch
from helpers_commands import refused

ENDLESS = "9" * 23
BAD = {
    "compare --seeds 99999999": "from 1 to 10,000",
    f"compare --epochs {ENDLESS}": "1000000",
    f"compare --batch-size {ENDLESS}": "1000000000",
    f"compare --limit-train {ENDLESS}": "1000000000",
    f"compare --task forecasting --data no.csv --window {ENDLESS}": "1000000",
    "compare --image-size 99999999": "at most 16,384",
    f"compare --image-size {ENDLESS}": "at most 16,384",
    "compare --device meta": "the device 'meta' cannot be used here",
    "compare --device fpga": "the device 'fpga' cannot be used here",
    "select --seeds 99999999": "from 1 to 10,000",
    "reproduce adact-table1-fmnist --seeds 99999999": "from 1 to 10,000",
    "bench --rounds 0": "rounds=0 must be from 1",
    f"bench --elements {ENDLESS}": "take fewer elements",
    "bench --device meta": "the device 'meta' cannot be used here",
    f"inspect mlp --seed {ENDLESS}": "from 0 to 4,294,967,295",
    f"swap mlp --to asau --num-parameters {ENDLESS[:20]}": "at most 16,777,216",
}


@pytest.mark.parametrize("line", BAD)
def test_is_refused(run, line):
    assert BAD[line] in refused(run, *line.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here(run):
    assert "use --device cpu" in refused(run, "compare", "--device", "cuda")


def test_weights_with_numbers_for_names(run, tmp_path):
    torch.save({3: torch.zeros(2)}, tmp_path / "weights.pt")
    said = refused(run, "inspect", "mlp", "--weights", str(tmp_path / "weights.pt"))
    assert "where a tensor's name belongs" in said
