"""What a step will take in memory, found before any of it is taken: the network runs on tensors that hold nothing."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from limen.lab.data import Samples
from limen.lab.training.batches import Batches
from limen.lab.training.experiment import Experiment
from limen.lab.training.memory import peak_memory
from limen.lab.training.run import bare
from limen.memory import physical_bytes, require_memory

SURELY = 1000
"""A step takes less than so many times its input: ResNet-20 takes 125 times as much. Asking takes a second."""


def require_step(experiment: Experiment) -> None:
    """Raise where a training step or a step over test examples needs more memory than there is.

    What a network keeps for its gradients is counted, of the network as it was built. On a GPU nothing is asked.
    """
    settings = experiment.settings
    if torch.device(settings.device).type != "cpu":
        return
    _require(experiment, experiment.data.train, settings.batch_size, "--batch-size", training=True)
    _require(experiment, experiment.data.tested, settings.eval_batch_size, "--eval-batch-size", training=False)


def _require(experiment: Experiment, split: Samples, batch_size: int, option: str, *, training: bool) -> None:
    example, _ = next(iter(Batches(split, 1)))
    count = min(batch_size, len(split))
    there = physical_bytes()
    if there is None or SURELY * count * example.nbytes < there:
        return
    require_memory(
        count * example.nbytes + _of_network(experiment, example, count, training=training),
        f"a {'training' if training else 'test'} step of {count:,} inputs of shape {tuple(example.shape[1:])}",
        f"give a smaller {option}" + (" or --image-size" if "image_size" in experiment.task.options else ""),
    )


def _of_network(experiment: Experiment, example: torch.Tensor, count: int, *, training: bool) -> int:
    """Bytes of what it makes of a batch; 0 where it does not run on such tensors, which an own network may not."""
    network = bare(experiment, seed=0).train(training)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.set_grad_enabled(training):
            inputs = torch.empty(count, *example.shape[1:], dtype=example.dtype)
            return peak_memory(lambda: network(inputs))
    except Exception:  # anything may happen in a network that is not ours; the probe with two examples says it
        return 0
