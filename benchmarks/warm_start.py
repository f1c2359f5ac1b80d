"""How much of a trained network survives a change of activation?  python benchmarks/warm_start.py --data-dir DIR

Trains the lab's ConvNet with ReLU on Fashion-MNIST, then changes its activations: plainly, with BatchNorm statistics
estimated again, with parameters fitted to ReLU over what arrives at each site (warm_start), and with both; then trains
one more epoch after the plain swap and after both. Writes a row an activation to benchmarks/results/warm_start.json,
with accuracies on the 10,000 test images, which choose nothing. What is there already, of the same settings, is kept,
so it can be interrupted; --work keeps the trained network.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

import limen
from limen.lab.data import Split, load
from limen.lab.networks import build
from limen.lab.training.batches import Batches
from limen.warmstart import PULL
from limen.writing import write_atomically

RESULTS = Path(__file__).parent / "results" / "warm_start.json"
ACTIVATIONS = (
    "relu", "asau", "asau:a=0", "acon", "swish", "adact", "apalu", "ash", "prelu", "acon channel",
)  # fmt: skip
MEASURED = ("before", "swap", "swap, BatchNorm", "warm start", "warm start, BatchNorm")
TRAINED = ("swap, one epoch", "warm start, BatchNorm, one epoch")
BATCH, FIT_BATCHES, FIT_BATCH = 64, 4, 256
LEARNING_RATE, FURTHER_LEARNING_RATE, WEIGHT_DECAY = 2e-3, 5e-4, 1e-2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder with fashion_mnist; downloaded if not given")
    parser.add_argument("--images", type=int, default=20_000, help="training images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--activations",
        default="; ".join(ACTIVATIONS),
        help="specs, separated by ';'; 'acon channel' has one parameter a channel",
    )
    parser.add_argument("--work", type=Path, default=Path("runs/warm_start"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    settings = {"network": "convnet", "data": "fashion-mnist", "images": arguments.images, "epochs": arguments.epochs}
    settings |= {"seed": arguments.seed, "fitted on images": FIT_BATCHES * FIT_BATCH, "pull": PULL}
    rows = stored_rows(arguments.out, settings)
    data = load("fashion-mnist", data_dir=arguments.data_dir)
    assert data.test is not None
    generator = torch.Generator().manual_seed(arguments.seed)
    train = data.train.take(torch.randperm(len(data.train), generator=generator)[: arguments.images])
    experiment = Experiment(train, data.test, arguments.seed)
    network = build("convnet", data.image_shape, len(data.classes), arguments.seed)
    trained = arguments.work / f"relu-{arguments.images}-{arguments.epochs}-{arguments.seed}.pt"
    if trained.exists():
        network.load_state_dict(torch.load(trained, weights_only=True))
    else:
        experiment.train(network, arguments.epochs, LEARNING_RATE)
        trained.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), trained)
    known = [row["accuracy"]["before"] for row in rows.values() if "before" in row["accuracy"]]
    experiment.before = known[0] if known else experiment.accuracy(network)
    specs = [spec.strip() for spec in arguments.activations.split(";")]
    for measured in (MEASURED, TRAINED):
        for spec in specs:
            row = rows.setdefault(spec, {"activation": spec, "accuracy": {}})
            for _ in experiment.steps(network, row, measured):
                found = {"settings": settings, "rows": list(rows.values())}
                write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")
            print(json.dumps(row), flush=True)
    print(table(list(rows.values())))


class Experiment:
    """The data of all rows."""

    def __init__(self, train: Split, test: Split, seed: int) -> None:
        self.train_split, self.test_split, self.seed = train, test, seed
        self.before = 0.0
        some = Batches(train.take(torch.arange(FIT_BATCHES * FIT_BATCH)), FIT_BATCH)
        self.fit_batches = [images for images, _ in some]

    def steps(self, network: nn.Module, row: dict[str, Any], wanted: tuple[str, ...]) -> Iterator[None]:
        """Fill in what a row lacks of these, one measurement at a time."""
        accuracy = row["accuracy"]
        missing = [name for name in wanted if name not in accuracy]
        if not missing:
            return
        plain, fitted = copy.deepcopy(network), copy.deepcopy(network)
        name, _, channels = row["activation"].partition(" ")
        limen.swap_(plain, name, num_parameters=channels or None)
        report = limen.swap_(
            fitted, name, num_parameters=channels or None, warm_start=True, example_inputs=self.fit_batches
        )
        row["distance at the sites before"] = [round(site.fit_before or 0.0, 4) for site in report.sites]
        row["distance at the sites after"] = [round(site.drift or 0.0, 4) for site in report.sites]
        row["distance of the outputs"] = round(report.drift or 0.0, 4)
        for measured in missing:
            start = fitted if "warm start" in measured else plain
            start = self.renormalised(start) if "BatchNorm" in measured else start
            start = self.trained_on(start) if "one epoch" in measured else start
            accuracy[measured] = self.before if measured == "before" else self.accuracy(start)
            yield

    def renormalised(self, network: nn.Module) -> nn.Module:
        """A copy with BatchNorm statistics of its own."""
        changed = copy.deepcopy(network)
        limen.reestimate_batch_norm_(changed, self.fit_batches)
        return changed

    def trained_on(self, network: nn.Module) -> nn.Module:
        """A copy after one more epoch."""
        changed = copy.deepcopy(network)
        self.train(changed, 1, FURTHER_LEARNING_RATE)
        return changed

    def train(self, network: nn.Module, epochs: int, learning_rate: float) -> None:
        """AdamW with a rate that falls to 0; batches depend on the seed alone."""
        torch.manual_seed(self.seed)
        batches = Batches(self.train_split, BATCH, seed=self.seed)
        groups = limen.param_groups(network, learning_rate, WEIGHT_DECAY)
        optimiser = torch.optim.AdamW(groups)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * len(batches))
        convert_conv2d_weight_memory_format(network, torch.channels_last).train()
        for _ in range(epochs):
            for images, labels in batches:
                optimiser.zero_grad()
                logits = network(images.contiguous(memory_format=torch.channels_last))
                torch.autograd.backward(F.cross_entropy(logits, labels))
                optimiser.step()
                schedule.step()

    @torch.no_grad()
    def accuracy(self, network: nn.Module) -> float:
        """The share of test images classified rightly."""
        network.eval()
        right = sum(
            int((network(images).argmax(1) == labels).sum()) for images, labels in Batches(self.test_split, 500)
        )
        return right / len(self.test_split)


def stored_rows(path: Path, settings: dict[str, object]) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run with the same settings, by activation."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {row["activation"]: row for row in found["rows"]} if found.get("settings") == settings else {}


def table(rows: list[dict[str, Any]]) -> str:
    """The accuracies in percent, as the table of docs/results."""
    columns = (*MEASURED, *TRAINED)
    lines = [f"| activation | {' | '.join(columns)} |", "| --- " * (1 + len(columns)) + "|"]
    for row in rows:
        cells = [f"{100 * row['accuracy'][name]:.2f}" if name in row["accuracy"] else "–" for name in columns]
        lines.append(f"| {row['activation']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
