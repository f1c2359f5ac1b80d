"""Why what learned scikit-learn's digits mistakes MNIST's: the same networks, tested on MNIST framed in several ways.

scikit-learn's digits fill the 8 rows and the middle 6 columns of their 8 x 8 pixels with broad strokes; MNIST's lie in
the middle 20 x 20 of 28 x 28 with thin ones, so that the whole image brought to 8 x 8 is a small, pale digit. Tested is

    whole     the image brought to 8 x 8, as --test-data does
    range     the same, each image up to its own brightest pixel
    square    the square around the digit brought to 8 x 8
    box       the digit itself brought to 8 rows and 6 columns, in the middle
    broad     that, after every stroke was widened by a pixel on each side

    python benchmarks/framing.py --data-dir data

writes docs/results/diagnostics/framing.csv, a row a network, activation and seed, and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F

import limen
from limen.lab import networks
from limen.lab.data import ByClass, Division, Split, divide, load
from limen.lab.statistics import interval
from limen.writing import write_atomically

PAIRS = (("mlp", "relu"), ("mlp", "asau"), ("mlp", "ash"), ("mlp", "adact"), ("convnet", "relu"))
"""Networks and activations; the convolutions take a minute a seed on one core, the others seconds."""
EPOCHS, BATCH, RATE, SIDE, INK = 10, 64, 1e-3, 8, 50
OUT = Path(__file__).parents[1] / "docs" / "results" / "diagnostics" / "framing.csv"

Pixels = NDArray[np.uint8]


def brought(pixels: Pixels, width: int = SIDE) -> Pixels:
    """In 8 rows, as the lab resizes images."""
    small = Image.fromarray(pixels).resize((width, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small)


def to_own_range(pixels: Pixels) -> Pixels:
    """Small, then as bright as it can be."""
    small = brought(pixels)
    return (small * (255 / max(float(small.max()), 1))).astype(np.uint8)


def cut_out(pixels: Pixels) -> Pixels:
    """The box around the ink."""
    rows, columns = ((pixels.max(axis) > INK).nonzero()[0] for axis in (1, 0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def in_square(pixels: Pixels) -> Pixels:
    """The box in the middle of a square as large as its longer side."""
    digit = cut_out(pixels)
    side = max(digit.shape)
    down, across = ((side - own) // 2 for own in digit.shape)
    found = np.zeros((side, side), np.uint8)
    found[down : down + digit.shape[0], across : across + digit.shape[1]] = digit
    return brought(found)


def in_columns(pixels: Pixels) -> Pixels:
    """The box stretched over all rows and the middle six columns."""
    return np.pad(brought(cut_out(pixels), SIDE - 2), ((0, 0), (1, 1)))


def broad(pixels: Pixels) -> Pixels:
    """The same of widened strokes."""
    return in_columns(np.asarray(Image.fromarray(pixels).filter(ImageFilter.MaxFilter(3))))


FRAMES: dict[str, Callable[[Pixels], Pixels]] = {
    "whole": brought, "range": to_own_range, "square": in_square, "box": in_columns, "broad": broad,
}  # fmt: skip


def framed(images: Tensor, how: Callable[[Pixels], Pixels]) -> Tensor:
    """All images of 28 × 28 in one way of framing: (N, 1, 8, 8)."""
    return torch.from_numpy(np.stack([how(image) for image in images[:, 0].numpy()]))[:, None]


def learned(name: str, activation: str, seed: int, split: Split) -> nn.Module:
    """A network that has learned the digits."""
    network = networks.build(name, (1, SIDE, SIDE), 10, seed)
    limen.swap_(network, activation)
    images, labels = split.batch(*split.tensors)
    optimizer = torch.optim.Adam(limen.param_groups(network, RATE))
    torch.manual_seed(seed)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(labels)), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(images[chosen]), labels[chosen]))
            optimizer.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Of images as bytes."""
    scaled, _ = Split.batch(images, labels)
    return float((network(scaled).argmax(1) == labels).double().mean())


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """All rows, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ("network", "activation", "seed", "digits", *FRAMES), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def table(rows: list[dict[str, str]]) -> str:
    """Mean accuracies over seeds with their intervals, in percent."""
    columns = ("digits", *FRAMES)
    lines = [f"| network | activation | {' | '.join(columns)} |", "| --- " * (2 + len(columns)) + "|"]
    for name, activation in PAIRS:
        mine = [row for row in rows if (row["network"], row["activation"]) == (name, activation)]
        found = [interval([100 * float(row[column]) for row in mine]) for column in columns]
        cells = [f"{one.mean:.1f} ({one.low:.1f} to {min(one.high, 100):.1f})" for one in found]
        lines.append(f"| {name} | {activation} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    rows: list[dict[str, str]] = []
    if given.out.exists():
        with given.out.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    digits = divide(load("digits", data_dir=None), Division(), ByClass())
    others = divide(load("mnist", data_dir=given.data_dir), Division(limit_test=given.test), ByClass()).tested
    tests = {name: framed(others.images, how) for name, how in FRAMES.items()}
    done = {(row["network"], row["activation"], row["seed"]) for row in rows}
    for name, activation in PAIRS:
        for seed in range(given.seeds):
            if (name, activation, str(seed)) in done:
                continue
            network = learned(name, activation, seed, digits.train)
            found = {"digits": accuracy(network, digits.tested.images, digits.tested.labels)}
            found |= {frame: accuracy(network, images, others.labels) for frame, images in tests.items()}
            rows.append(
                {"network": name, "activation": activation, "seed": str(seed)}
                | {frame: f"{value:.4f}" for frame, value in found.items()}
            )
            write(given.out, rows)
            print(rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
