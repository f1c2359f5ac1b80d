"""How much of a trained network survives a change of activation?  python benchmarks/warm_start.py --data-dir DIR

Trains the lab's ConvNet with ReLU on Fashion-MNIST, then changes its activations: plainly, with BatchNorm statistics
estimated again, with parameters fitted to ReLU over what arrives at each site (limen.fit_), and with both; then trains
one more epoch after the plain swap and after both. Writes a row an activation to benchmarks/results/warm_start.json,
with accuracies on the 10,000 test images, which choose nothing. Rows already there, of the same settings, are kept, so
it can be interrupted; --work keeps the trained network.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limen
from limen.lab.batches import Batches
from limen.lab.data import Split, load
from limen.lab.networks import build
from limen.warmstart import PULL

RESULTS = Path(__file__).parent / "results" / "warm_start.json"
ACTIVATIONS = (
    "relu", "prelu", "swish", "acon", "asau", "asau:a=0", "apalu", "ash", "adact",
    "acon:num_parameters=channel", "gelu",
)  # fmt: skip
BATCH, FIT_BATCHES, FIT_BATCH = 64, 4, 256
LEARNING_RATE, FURTHER_LEARNING_RATE, WEIGHT_DECAY = 2e-3, 5e-4, 1e-2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder with fashion_mnist; downloaded if not given")
    parser.add_argument("--images", type=int, default=20_000, help="training images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--activations", default=" ".join(ACTIVATIONS), help="specs, separated by blanks")
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
    done = {row["activation"] for row in rows}
    for spec in (spec for spec in arguments.activations.split() if spec not in done):
        rows.append(experiment.row(network, spec))
        print(json.dumps(rows[-1]), flush=True)
        write(arguments.out, {"settings": settings, "rows": rows})


class Experiment:
    """The data of all rows."""

    def __init__(self, train: Split, test: Split, seed: int) -> None:
        self.train_split, self.test_split, self.seed = train, test, seed
        some = Batches(train.take(torch.arange(FIT_BATCHES * FIT_BATCH)), FIT_BATCH)
        self.fit_batches = [images for images, _ in some]

    def row(self, network: nn.Module, spec: str) -> dict[str, object]:
        """Every accuracy for one activation, and how far its sites were and are from ReLU."""
        plain, fitted = copy.deepcopy(network), copy.deepcopy(network)
        swap(plain, spec)
        fits = swap_and_fit(fitted, spec, self.fit_batches)
        accuracy: dict[str, float] = {"before": self.accuracy(network), "swap": self.accuracy(plain)}
        accuracy["swap, BatchNorm"] = self.accuracy(self.renormalised(plain))
        accuracy["warm start"] = self.accuracy(fitted)
        accuracy["warm start, BatchNorm"] = self.accuracy(self.renormalised(fitted))
        accuracy["swap, one epoch"] = self.accuracy(self.trained_on(plain))
        accuracy["warm start, BatchNorm, one epoch"] = self.accuracy(self.trained_on(self.renormalised(fitted)))
        return {
            "activation": spec,
            "accuracy": accuracy,
            "error at the sites before": [round(fit.before, 4) for fit in fits],
            "error at the sites after": [round(fit.after, 4) for fit in fits],
        }

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
        network.to(memory_format=torch.channels_last).train()
        for _ in range(epochs):
            for images, labels in batches:
                optimiser.zero_grad()
                F.cross_entropy(network(images.contiguous(memory_format=torch.channels_last)), labels).backward()
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


def swap(network: nn.Module, spec: str) -> limen.SwapReport:
    """Change the activations; ``channel`` stands for the width of each site."""
    if "=channel" not in spec:
        return limen.swap_(network, spec)
    widths = iter(block.normalisation.num_features for block in network.features)
    return limen.swap_(network, lambda: limen.create(spec.replace("=channel", f"={next(widths)}")))


def swap_and_fit(network: nn.Module, spec: str, batches: Iterable[Tensor]) -> list[limen.Fit]:
    """Change the activations and fit each to the one it replaces, over what arrived there on the batches."""
    before = {path: m for path, m in network.named_modules() if isinstance(m, nn.ReLU)}
    arrived: dict[str, list[Tensor]] = {path: [] for path in before}
    handles = [module.register_forward_pre_hook(kept_in(arrived[path])) for path, module in before.items()]
    network.eval()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    for handle in handles:
        handle.remove()
    report = swap(network, spec)
    return [
        limen.fit_(network.get_submodule(site.path), before[site.path], torch.cat(arrived[site.path]))
        for site in report.sites
    ]


def kept_in(values: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _, inputs: values.append(inputs[0].detach().clone())


def stored_rows(path: Path, settings: dict[str, object]) -> list[dict[str, object]]:
    """Rows of an earlier run with the same settings."""
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    return found["rows"] if found["settings"] == settings else []


def write(path: Path, found: dict[str, object]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
