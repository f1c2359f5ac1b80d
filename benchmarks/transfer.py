"""A network trained on MNIST is taken to Fashion-MNIST, with each activation: features frozen, or all of it trained on.

Both sets are resized to 14 x 14 pixels, so that it runs on one core. For every seed and activation AdAct's ConvNet is
trained on the first set; then, with a new last layer, that layer alone is trained on the second (probe), or everything
(tuned); beside them a network that starts on the second set from its initial weights (scratch).

    python benchmarks/transfer.py --data-dir data

writes docs/results/diagnostics/transfer.csv, a row a seed and activation, and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limen
from limen.lab import networks
from limen.lab.data import ByClass, Division, divide, load
from limen.lab.statistics import compare, correct, interval
from limen.writing import write_atomically

ACTIVATIONS = ("relu", "ash", "asau", "apalu", "adact")
WAYS = ("probe", "tuned", "scratch")
SIZE, BATCH, RATE = 14, 64, 1e-3
OUT = Path(__file__).parents[1] / "docs" / "results" / "diagnostics" / "transfer.csv"

Split = tuple[Tensor, Tensor]


def images(name: str, data_dir: Path, train: int, test: int) -> tuple[Split, Split]:
    """Training and test images with mean 0.5 and deviation 0.5 taken out, as the lab gives them."""
    division = Division(with_validation=False, limit_train=train, limit_test=test)
    data = divide(load(name, data_dir=data_dir, image_size=(SIZE, SIZE)), division, ByClass())
    return data.train.batch(*data.train.tensors), data.tested.batch(*data.tested.tensors)


def batches(split: Split, seed: int) -> Iterator[Split]:
    """Shuffled by the seed alone, the same for every activation."""
    order = torch.randperm(len(split[1]), generator=torch.Generator().manual_seed(seed))
    for chosen in torch.split(order, BATCH):
        yield split[0][chosen], split[1][chosen]


def train(network: nn.Module, split: Split, epochs: int, seed: int, learned: nn.Module) -> None:
    """Adam on the parameters of one part; where only the last layer learns, the rest stays in evaluation mode."""
    optimizer = torch.optim.Adam(limen.param_groups(learned, RATE))
    torch.manual_seed(seed)  # RReLU in AdAct draws
    for epoch in range(epochs):
        network.eval()
        learned.train()
        for x, y in batches(split, 1000 * seed + epoch):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(x), y))
            optimizer.step()


@torch.no_grad()
def accuracy(network: nn.Module, split: Split) -> float:
    """Of the test images, in evaluation mode."""
    network.eval()
    parts = zip(torch.split(split[0], 500), torch.split(split[1], 500), strict=True)
    right = sum(int((network(x).argmax(1) == y).sum()) for x, y in parts)
    return right / len(split[1])


def measured(
    activation: str, seed: int, first: tuple[Split, Split], second: tuple[Split, Split], epochs: int
) -> dict[str, float]:
    """The source's own accuracy, then the target's by each way."""
    network = networks.build("convnet", (1, SIZE, SIZE), 10, seed)
    limen.swap_(network, activation)
    scratch = copy.deepcopy(network)
    train(network, first[0], epochs, seed, network)
    found = {"source": accuracy(network, first[1])}
    network.classifier = copy.deepcopy(scratch.get_submodule("classifier"))  # the same new layer for every way
    probe, tuned = copy.deepcopy(network), network
    for way, one, learned in (
        ("probe", probe, probe.get_submodule("classifier")),
        ("tuned", tuned, tuned),
        ("scratch", scratch, scratch),
    ):
        train(one, second[0], epochs, seed, learned)
        found[way] = accuracy(one, second[1])
    return found


def stored(path: Path) -> list[dict[str, str]]:
    """The rows that are there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """All rows, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ("activation", "seed", "epochs", "train", "test", "source", *WAYS), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def table(rows: list[dict[str, str]]) -> str:
    """Accuracy with its interval, and the difference to ReLU paired by seed, corrected over activations and ways."""
    values = {
        (a, way): {int(r["seed"]): float(r[way]) for r in rows if r["activation"] == a}
        for a in ACTIVATIONS
        for way in ("source", *WAYS)
    }
    pairs = [(a, way) for a in ACTIVATIONS[1:] for way in WAYS]
    compared = [compare(values[a, w], values["relu", w], higher_is_better=True) for a, w in pairs]
    judged = dict(zip(pairs, correct(compared), strict=True))
    lines = ["| activation | MNIST | probe | tuned | scratch |", "| --- | --- | --- | --- | --- |"]
    for a in ACTIVATIONS:
        cells = []
        for way in ("source", *WAYS):
            found = interval(list(values[a, way].values()))
            text = f"{100 * found.mean:.1f}"
            if not math.isnan(found.low):
                text += f" ({100 * found.low:.1f} to {100 * found.high:.1f})"
            if (a, way) in judged:
                one = judged[a, way]
                text += f", {100 * one.difference.mean:+.1f}: {one.verdict}"
            cells.append(text)
        lines.append(f"| {a} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    size = {"epochs": str(given.epochs), "train": str(given.train), "test": str(given.test)}
    rows = stored(given.out)
    if any({key: row[key] for key in size} != size for row in rows):
        raise SystemExit(f"{given.out} holds rows of another size; choose another --out.")
    first, second = (images(name, given.data_dir, given.train, given.test) for name in ("mnist", "fashion-mnist"))
    done = {(row["activation"], row["seed"]) for row in rows}
    for seed in range(given.seeds):
        for activation in ACTIVATIONS:
            if (activation, str(seed)) in done:
                continue
            found = measured(activation, seed, first, second, given.epochs)
            rows.append({"activation": activation, "seed": str(seed), **size, **{k: repr(v) for k, v in found.items()}})
            write(given.out, rows)
            print(activation, seed, {key: round(value, 4) for key, value in found.items()}, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
