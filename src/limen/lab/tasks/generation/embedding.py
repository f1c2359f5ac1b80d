"""The features on which images are compared, learned from the training images themselves.

A network of three convolutions learns, always from the same seed, by which quarter turn an image was rotated (Gidaris
et al. 2018, arXiv 1803.07728): that needs no labels, and cannot be told without seeing shapes. Its 64 features, each
scaled to mean 0 and deviation 1 on the training images, are the embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 32
"""Images are resized to so many pixels a side before they are embedded."""
FEATURES = 64
IMAGES, EPOCHS, BATCH, RATE, SEED = 4000, 4, 64, 1e-3, 0
"""How the embedding learns; more than so many images are thinned out evenly."""


class Embedding(nn.Module):
    """Three convolutions of stride 2, and the mean of the last one's map."""

    num_features = FEATURES

    centre: Tensor
    spread: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(64, FEATURES, 3, 2, 1),
            nn.ReLU(),
        )
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))

    def forward(self, images: Tensor) -> Tensor:
        """Features, (N, 64), of images (N, C, H, W) from −1 to 1."""
        if images.shape[2:] != (SIDE, SIDE):
            images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        output: Tensor = (self.layers(images).mean((2, 3)) - self.centre) / self.spread
        return output


def learn_embedding(images: Tensor) -> Embedding:
    """Learn the embedding of uint8 images (N, C, H, W); the same images give the same one."""
    chosen = torch.linspace(0, len(images) - 1, min(IMAGES, len(images))).long()
    pixels = images[chosen].float().sub_(127.5).div_(127.5)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(SEED)  # torch.manual_seed would seed the GPUs' generators for good
        embedding, head = Embedding(images.shape[1]), nn.Linear(FEATURES, 4)
        _learn_turns(embedding, head, F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True))
    with torch.no_grad():
        features = torch.cat([embedding(part) for part in torch.split(pixels, 500)])
    spread = features.std(0, correction=0)
    embedding.centre.copy_(features.mean(0))
    embedding.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones(())))  # a dead feature is 0 for every image
    return embedding.requires_grad_(False)


def _learn_turns(embedding: Embedding, head: nn.Module, squares: Tensor) -> None:
    optimiser = torch.optim.Adam([*embedding.parameters(), *head.parameters()], RATE)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(squares)), BATCH):
            turns = torch.randint(4, (len(chosen),))
            turned = squares[chosen]
            for turn in range(1, 4):
                turned[turns == turn] = turned[turns == turn].rot90(turn, (2, 3))
            loss = F.cross_entropy(head(embedding(turned)), turns)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
