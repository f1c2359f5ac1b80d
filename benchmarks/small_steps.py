"""What a small run costs beside its steps: limen's runs and a plain loop in PyTorch, interleaved, in processor time.

    OMP_NUM_THREADS=1 python benchmarks/small_steps.py [--out benchmarks/results/small_steps.json]

The plain loop is what one writes by hand: a network, AdamW, the same batches, and after every epoch the loss and the
accuracy of the held-out examples. It trains the run's own network, so that what is compared is the loop; and beside it
the network with torch's ReLU in the place of limen's. A whole command is a process of its own, and so is the script of
as many plain loops with the same activations: both import what they need, read the data and train; the command also
tests, describes the learned functions, times steps, and writes tables and the report. Each process has run once before,
so that all is compiled as what is installed is, whatever the environment says of bytecode.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from limen.lab.settings import StudySettings
from limen.lab.study.preparing import prepare, probe
from limen.lab.tasks import registry
from limen.lab.training import run as training
from limen.lab.training.experiment import Experiment
from limen.lab.training.shapes import layer_shapes

EPOCHS, ROUNDS = 1, 21
COMMAND_EPOCHS, COMMAND_SEEDS, COMMAND_ROUNDS, ACTIVATIONS = 4, 3, 3, ("relu", "asau", "ash", "adact")


def experiment(network: str, epochs: int = EPOCHS) -> Experiment:
    """Runs on handwritten digits."""
    settings = StudySettings(
        data="digits", network=network, activations=ACTIVATIONS, baseline="relu", seeds=(0,), epochs=epochs
    )
    return prepare(registry.find(settings.task), settings)


def plain(made: Experiment, network: nn.Module) -> None:
    """A training as one writes it by hand."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0)
    train = made.training(0)
    for _ in range(made.settings.epochs):
        network.train()
        for images, labels in train:
            optimiser.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(images), labels))
            optimiser.step()
        network.eval()
        with torch.no_grad():
            for images, labels in made.evaluated(made.heldout):
                logits = network(images)
                F.cross_entropy(logits, labels).item()
                (logits.argmax(1) == labels).float().mean().item()


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def steps(name: str) -> dict[str, object]:
    """Milliseconds of processor time a step; the medians of rounds, and of the rounds' ratios."""
    made = experiment(name)
    rounds = torch.tensor([_round(made) for _ in range(ROUNDS + 1)][1:])
    torchs, plain_ms, ours = (rounds.median(0).values * 1000 / len(made.training(0)) / EPOCHS).tolist()
    ratio, to_torchs = ((rounds[:, 2] / rounds[:, other]).median().item() for other in (1, 0))
    return {"network": name, "torchs_relu_ms": torchs, "plain_ms": plain_ms, "limen_ms": ours, "ratio": ratio,
            "ratio_to_torchs_relu": to_torchs}  # fmt: skip


def _round(made: Experiment) -> tuple[float, float, float]:
    """Seconds of a plain loop with torch's ReLU, of one with limen's, and of a run's training."""
    bare, swapped = training.bare(made, 0), training.build(made, "relu", 0)[0]
    loop = training.prepared(made, "relu", 0)
    return seconds(lambda: plain(made, bare)), seconds(lambda: plain(made, swapped)), seconds(loop.run)


def beside(name: str) -> dict[str, float]:
    """Milliseconds of what a run does beside training, each once a run."""
    made = experiment(name)
    network, _ = training.build(made, "relu", 0)
    learner = training.prepared(made, "relu", 0).learner
    some, _ = next(iter(made.evaluated(made.heldout)))
    parts: dict[str, Callable[[], object]] = {
        "network built and swapped": lambda: training.build(made, "relu", 0),
        "optimiser, metrics and loop": lambda: training.prepared(made, "relu", 0),
        "held-out and test metrics": lambda: [
            learner.evaluate(split, made.evaluated(examples))
            for split, examples in (("val", made.heldout), ("test", made.data.tested))
        ],
        "learned functions": lambda: layer_shapes(network, some[:500]),
        "pictures": lambda: made.task.show(network, made.data, made.settings),
        "memory of a step": lambda: training.step_memory(network, made),
        "probe, once a study": lambda: probe(made),
    }
    return {label: 1000 * min(seconds(part) for _ in range(3)) for label, part in parts.items()}


LOOPS = """
import sys
sys.path.insert(0, {folder!r})
import small_steps, torch
made = small_steps.experiment("mlp", {epochs})
for name in small_steps.ACTIVATIONS * {seeds}:
    small_steps.plain(made, small_steps.training.build(made, name, 0)[0])
"""
IMPORTS = {
    "torch": "import torch",
    "limen's runs": "import limen.lab.study.compare, limen.lab.training.run",
    "torchmetrics, which runs no longer need": "import torch, torchmetrics",
    "Lightning, which runs no longer need": "import torch, lightning",
}


def of_process(bytecode: str, *arguments: str) -> float:
    """Processor time of a process and those it starts; the folder is that of all that Python has compiled."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports(bytecode: str) -> dict[str, float]:
    """Seconds of processor time of what is imported, each alone in a process."""
    for code in IMPORTS.values():
        of_process(bytecode, "-c", code)
    return {name: of_process(bytecode, "-c", code) for name, code in IMPORTS.items()}


def command(bytecode: str) -> dict[str, float]:
    """Seconds of processor time of a comparison and of a script with as many plain loops: the medians of rounds."""
    loops = LOOPS.format(folder=str(Path(__file__).parent), epochs=COMMAND_EPOCHS, seeds=COMMAND_SEEDS)
    words = ["--data", "digits", "--network", "mlp", "--activations", ",".join(ACTIVATIONS)]
    words += ["--epochs", str(COMMAND_EPOCHS), "--seeds", str(COMMAND_SEEDS)]
    rounds = []
    for _ in range(COMMAND_ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            ours = of_process(bytecode, "-m", "limen.cli", "compare", *words, "--out", f"{folder}/out")
        rounds.append((of_process(bytecode, "-c", loops), ours))
    counted = rounds[1:]
    return {
        "runs": COMMAND_SEEDS * len(ACTIVATIONS),
        "plain_s": statistics.median(plain for plain, _ in counted),
        "limen_s": statistics.median(ours for _, ours in counted),
        "ratio": statistics.median(ours / plain for plain, ours in counted),
    }


def main() -> None:
    """Measure, print, and store where asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    found = {
        "torch": torch.__version__,
        "steps": [steps("mlp"), steps("convnet")],
        "beside_training_ms": {name: beside(name) for name in ("mlp", "convnet")},
    }
    with tempfile.TemporaryDirectory() as bytecode:
        found |= {"command": command(bytecode), "import_s": imports(bytecode)}
    text = json.dumps(found, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
