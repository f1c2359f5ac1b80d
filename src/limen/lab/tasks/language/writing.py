"""What a trained language model shows: how well it predicts each place of a window, and what it writes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.numerals import stored
from limen.lab.records import Written
from limen.lab.settings import StudySettings
from limen.lab.tasks.language.windows import NEXT, PADDED, LanguageData
from limen.lab.training.batches import Batches

SEED = 0
PROMPT, LENGTH = 32, 200
"""Tokens that a network is given, and that it goes on with."""
MOST_PLACES = 128
"""Of a longer window neighbouring places are taken together."""


def written(network: nn.Module, data: LanguageData, settings: StudySettings) -> Written:
    """The losses by place on the test text, and a sample that begins as the test text does."""
    bits, counts = _by_place(network, data, settings)
    places, means = _taken_together(bits, counts)
    prompt = data.tested.inputs[0][:PROMPT].long()
    tokens = sampled(network, prompt, data.input_shape[0], settings.device)
    known = data.vocabulary
    return Written(
        places=places,
        bits=means,
        unit=known.noun,
        prompt=known.text_of(prompt.tolist()),
        sample=known.text_of(tokens),
    )


def _by_place(network: nn.Module, data: LanguageData, settings: StudySettings) -> tuple[Tensor, Tensor]:
    """The sum of the losses at each place of a window, and of how many tokens it is."""
    window = data.input_shape[0]
    bits, counts = torch.zeros(window, dtype=torch.float64), torch.zeros(window, dtype=torch.float64)
    for inputs, targets in Batches(data.tested, settings.eval_batch_size, device=settings.device):
        truth = targets[:, :, NEXT]
        nats = F.cross_entropy(network(inputs).transpose(1, 2), truth, ignore_index=PADDED, reduction="none")
        bits += nats.cpu().double().sum(0) / math.log(2)
        counts += (truth != PADDED).cpu().double().sum(0)
    return bits, counts


def _taken_together(bits: Tensor, counts: Tensor) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The last place of each group, and the mean over it; a place that no window has is left out."""
    every = math.ceil(len(bits) / MOST_PLACES)
    means, places = [], []
    for index, (lost, count) in enumerate(zip(torch.split(bits, every), torch.split(counts, every), strict=True)):
        if count.sum() > 0:
            places.append(min((index + 1) * every, len(bits)))
            means.append(stored(float(lost.sum() / count.sum())))
    return tuple(places), tuple(means)


def sampled(network: nn.Module, prompt: Tensor, window: int, device: str) -> list[int]:
    """Tokens drawn one after another, each from what the network gives for all before it.

    A window is always given whole, what is not yet written as zeros: a causal network does not see them.
    """
    generator = torch.Generator().manual_seed(SEED)
    tokens = prompt.tolist()
    for _ in range(LENGTH):
        seen = tokens[-window:]
        given = torch.tensor([seen + [0] * (window - len(seen))], device=device)
        logits = network(given)[0, len(seen) - 1].float().cpu()
        tokens.append(int(torch.multinomial(logits.softmax(0), 1, generator=generator)))
    return tokens[len(prompt) :]
