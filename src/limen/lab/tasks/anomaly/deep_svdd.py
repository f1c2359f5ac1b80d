"""Deep SVDD: normal images lie near a centre. Ruff et al. 2018, ICML, and github.com/lukasruff/Deep-SVDD-PyTorch."""

from __future__ import annotations

from itertools import cycle, islice

import torch
from torch import Tensor, nn

from limen.lab.tasks.anomaly.network import AnomalyNetwork, normalised
from limen.lab.training.batches import Batches

ImageShape = tuple[int, int, int]


class LeNet(nn.Module):
    """5×5 convolutions without biases, normalisation without weights, the activation, 2×2 pooling, a linear layer.

    Up to 32 pixels the published MNIST form (8 and 4 channels, 32 outputs; 7,272 parameters for 28×28), above it the
    CIFAR form (32, 64, 128 channels, 128 outputs).
    """

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = image_shape
        small = max(height, width) <= 32
        layers: list[nn.Module] = []
        for wide in (8, 4) if small else (32, 64, 128):
            convolution = nn.Conv2d(channels, wide, 5, padding=2, bias=False)
            layers += [convolution, nn.BatchNorm2d(wide, eps=1e-4, affine=False), nn.ReLU(), nn.MaxPool2d(2)]
            channels, height, width = wide, height // 2, width // 2
        self.features = nn.Sequential(*layers)
        self.shape = channels, height, width
        self.outputs = 32 if small else 128
        self.head = nn.Linear(channels * height * width, self.outputs, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """A point for each image."""
        output: Tensor = self.head(self.features(images).flatten(1))
        return output


class Decoder(nn.Module):
    """From a point back to an image, for the pretraining of the encoder; its activations are swapped like the rest."""

    def __init__(self, encoder: LeNet, image_shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = encoder.shape
        self.start = nn.Sequential(
            nn.Linear(encoder.outputs, channels * height * width, bias=False),
            nn.Unflatten(1, encoder.shape),
            nn.BatchNorm2d(channels, eps=1e-4, affine=False),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(channels, 8, 5, padding=2, bias=False),
            nn.BatchNorm2d(8, eps=1e-4, affine=False),
            nn.ReLU(),
            nn.Upsample(size=image_shape[1:]),
            nn.Conv2d(8, image_shape[0], 5, padding=2, bias=False),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Images."""
        output: Tensor = self.start(points)
        return output


class DeepSVDD(AnomalyNetwork):
    """The squared distance of an image's point from the centre, the same for every pixel of its map.

    The centre is the mean point of the training images before training, its coordinates at least 0.1 from 0, as
    published. Images are normalised to mean 0 and mean absolute deviation 1 each.
    """

    CLEARANCE = 0.1

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__()
        self.encoder = LeNet(image_shape)
        self.register_buffer("centre", torch.zeros(self.encoder.outputs))
        self.centre: Tensor

    @torch.no_grad()
    def prepare(self, normal: Batches) -> None:
        """Find the centre."""
        self.encoder.eval()
        centre = torch.cat([self.points(images) for images, _ in normal]).mean(0)
        self.encoder.train()
        sign = torch.where(centre < 0, -1.0, 1.0)
        self.centre.copy_(torch.where(centre.abs() < self.CLEARANCE, sign * self.CLEARANCE, centre))

    def points(self, images: Tensor) -> Tensor:
        """Where the images lie."""
        output: Tensor = self.encoder(normalised(images))
        return output

    def forward(self, images: Tensor) -> Tensor:
        """The squared distance, at every pixel."""
        distance = (self.points(images) - self.centre).square().sum(1)
        return distance[:, None, None].expand(-1, *images.shape[2:])


class PretrainedDeepSVDD(DeepSVDD):
    """Deep SVDD whose encoder first learns, as half of an autoencoder, to keep what an image shows."""

    STEPS = 500
    LEARNING_RATE = 1e-3

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__(image_shape)
        self.decoder: nn.Module | None = Decoder(self.encoder, image_shape)

    def prepare(self, normal: Batches) -> None:
        """Train the autoencoder, drop the decoder, find the centre."""
        decoder, self.decoder = self.decoder, None
        assert decoder is not None
        both = [*self.encoder.parameters(), *decoder.parameters()]
        optimiser = torch.optim.Adam(both, self.LEARNING_RATE)
        self.encoder.train()
        for images, _ in islice((batch for _ in cycle((0,)) for batch in normal), self.STEPS):
            wanted = normalised(images)
            loss = (decoder(self.encoder(wanted)) - wanted).square().mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        super().prepare(normal)
