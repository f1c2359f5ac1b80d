"""Generation: images that cannot be told from those of the data."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from limen.errors import DataError, SpecError
from limen.lab import networks
from limen.lab.data import TaskData, divide, evenly
from limen.lab.records import Grid, Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.generation.dcgan import DCGAN
from limen.lab.tasks.generation.frechet import FEATURES, SmallFID, learn_embedding
from limen.lab.tasks.generation.pictures import FEWEST, LATENT, PictureData, load_pictures, with_noise
from limen.lab.training.batches import Batches
from limen.lab.training.task import Measure, Task

COLUMNS, ROWS = 10, 6
"""Images in the report, for each activation."""
SIDE_SHOWN = 56
"""Smaller images are enlarged by a whole number to about so many pixels."""
NOTE = (
    "The distance is FID's formula on a small embedding: "
    f"{FEATURES} features that a network learned on the training images by telling quarter turns apart. It compares "
    "activations within this study, and no published FID."
)


class Generation(Task):
    """Two networks against each other; the distance of generated from real images decides, and lower is better."""

    name = "generation"
    about = "images like those of a folder, an archive, or a built-in set"
    measure = Measure("small_fid", higher_is_better=False)
    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"dcgan": DCGAN}
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": "dcgan",
        "batch_size": 64,
        "eval_batch_size": 250,
        "learning_rate": 2e-4,
    }
    options = frozenset({"image_size", "grey", "channels_last"})
    observed = 100
    reference = "training images"

    def load(self, settings: StudySettings) -> PictureData:
        """Images, divided, with noise to make others from, and the embedding learned on the training images."""
        found = divide(
            load_pictures(
                settings.data,
                data_dir=Path(settings.data_dir) if settings.data_dir else None,
                image_size=settings.image_size,
                grey=settings.grey,
            ),
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
            seed=settings.split_seed,
            with_validation=not settings.test_chooses,
            limit_train=settings.limit_train,
            limit_test=settings.limit_test,
        )
        assert found.test is not None
        for part, split in (("training", found.train), ("held-out", found.validation), ("test", found.test)):
            if split is not None and len(split) < FEWEST:
                raise DataError(
                    f"{found.name} has {len(split)} {part} image; {FEWEST} or more are needed to measure a distance: "
                    "add images."
                )
        return PictureData(
            name=found.name,
            train=with_noise(found.train, settings.split_seed),
            validation=None if found.validation is None else with_noise(found.validation, settings.split_seed + 1),
            test=with_noise(found.test, settings.split_seed + 2),
            embedding=learn_embedding(found.train.images),
            notes=(NOTE,),
        )

    def offered(self, data: TaskData) -> Mapping[str, Any]:
        """Image shape, and how many numbers an image is made from."""
        channels, height, width = shape = _pictures(data).image_shape
        return {
            "image_shape": shape,
            "in_channels": channels,
            "image_size": (height, width),
            "latent_features": LATENT,
        }

    def output_shape(self, data: TaskData) -> tuple[int, ...]:
        """An image."""
        return _pictures(data).image_shape

    def build(self, name: str, data: TaskData, seed: int) -> nn.Module:
        """A network that holds a generator and a discriminator."""
        network = networks.construct(name, self.offered(data), seed, self.networks)
        for part in ("generator", "discriminator"):
            if not isinstance(getattr(network, part, None), nn.Module):
                raise SpecError(
                    f"the network {name!r} has no module {part!r}; for --task generation it needs a generator and a "
                    "discriminator, and forward(noise) must give images."
                )
        return network

    def trainer_module(self, network: nn.Module, data: TaskData, settings: StudySettings) -> L.LightningModule:
        """Generator and discriminator in turn."""
        from limen.lab.tasks.generation.training import Adversarial

        return Adversarial(network, self, data, settings)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the discriminator's logits ``outputs`` for ``targets``: 1 real, 0 generated."""
        return F.binary_cross_entropy_with_logits(outputs, targets)

    def discriminator_loss(self, network: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
        """Real images are to be called real, generated ones generated; each kind is normalised by itself."""
        right, wrong = _judged(network, real), _judged(network, fake)
        return self.loss(right, torch.ones_like(right)) + self.loss(wrong, torch.zeros_like(wrong))

    def generator_loss(self, network: nn.Module, fake: Tensor) -> Tensor:
        """Generated images are to be called real (the loss that does not saturate). Goodfellow et al. 2014, §3."""
        logits = _judged(network, fake)
        return self.loss(logits, torch.ones_like(logits))

    def objective(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Both losses at once."""
        fake = network(inputs)
        return self.discriminator_loss(network, fake.detach(), targets) + self.generator_loss(network, fake)

    def objectives(self, network: nn.Module) -> Sequence[tuple[nn.Module, Callable[[tuple[Tensor, Tensor]], Tensor]]]:
        """The discriminator's loss and the generator's."""

        def discriminator(batch: tuple[Tensor, Tensor]) -> Tensor:
            noise, real = batch
            return self.discriminator_loss(network, network(noise).detach(), real)

        def generator(batch: tuple[Tensor, Tensor]) -> Tensor:
            return self.generator_loss(network, network(batch[0]))

        parts = {"discriminator": discriminator, "generator": generator}
        return [(network.get_submodule(name), loss) for name, loss in parts.items()]

    def metrics(self, data: TaskData) -> dict[str, Metric]:
        """The distance."""
        return {"small_fid": SmallFID(_pictures(data).embedding)}

    def reference_metrics(self, data: TaskData) -> dict[str, float]:
        """The distance of as many training images from the test images: a perfect generator has about this."""
        found = _pictures(data)
        metric = self.metrics(data)["small_fid"]
        part = evenly(found.train, len(found.test))
        for (_, ours), (_, theirs) in zip(Batches(part, 250), Batches(evenly(found.test, len(part)), 250), strict=True):
            metric.update(ours, theirs)
        return {"small_fid": float(metric.compute())}

    @torch.no_grad()
    def show(self, network: nn.Module, data: TaskData, settings: StudySettings) -> Shown:
        """Some generated images beside real ones."""
        chosen = evenly(_pictures(data).test, COLUMNS * ROWS)
        network.eval()
        noise, real = next(iter(Batches(chosen, COLUMNS * ROWS, device=settings.device)))
        return Grid(picture=_drawn(network(noise)), real=_drawn(real))


def _judged(network: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = network.get_submodule("discriminator")(images)
    return logits.flatten()


def _drawn(images: Tensor) -> str:
    """Images from −1 to 1 side by side, as JPEG in base64."""
    channels, height, width = images.shape[1:]
    pixels = images.float().cpu().clamp(-1, 1).add(1).mul(127.5).round().byte()
    rows = math.ceil(len(pixels) / COLUMNS)
    blank = torch.full((rows * COLUMNS - len(pixels), channels, height, width), 255, dtype=torch.uint8)
    grid = torch.cat([pixels, blank]).view(rows, COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2)
    flat = (
        grid.reshape(rows * height, COLUMNS * width, channels).expand(-1, -1, 3)
        if channels == 1
        else grid.reshape(rows * height, COLUMNS * width, channels)
    )
    picture = Image.fromarray(np.ascontiguousarray(flat.numpy()))
    scale = max(1, round(SIDE_SHOWN / max(height, width)))
    stored = io.BytesIO()
    picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.NEAREST).save(
        stored, "JPEG", quality=85
    )
    return base64.b64encode(stored.getvalue()).decode("ascii")


def _pictures(data: TaskData) -> PictureData:
    assert isinstance(data, PictureData)
    return data
