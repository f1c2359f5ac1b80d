"""Generation: images that cannot be told from those of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from limen.errors import DataError, SpecError
from limen.lab import networks
from limen.lab.data import ByClass, Division, divide, evenly
from limen.lab.records import Shown
from limen.lab.settings import StudySettings
from limen.lab.tasks.generation import declared
from limen.lab.tasks.generation.embedding import FEATURES, learn_embedding
from limen.lab.tasks.generation.grid import grid
from limen.lab.tasks.generation.losses import discriminator_loss, generator_loss
from limen.lab.tasks.generation.pictures import FEWEST, LATENT, PictureData, load_pictures, with_noise
from limen.lab.tasks.generation.training import Adversarial
from limen.lab.training.batches import Batches
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task

NOTE = (
    "The distance is FID's formula on a small embedding: "
    f"{FEATURES} features that a network learned on the training images by telling quarter turns apart. It compares "
    "activations within this study, and no published FID."
)


class Generation(declared.Generation, Task[PictureData]):
    """Two networks against each other; the distance of generated from real images decides, and lower is better."""

    def load(self, settings: StudySettings) -> PictureData:
        """Images, divided, with noise to make others from, and the embedding learned on the training images."""
        undivided = load_pictures(
            settings.data,
            data_dir=Path(settings.data_dir) if settings.data_dir else None,
            image_size=settings.image_size,
            grey=settings.grey,
        )
        found = divide(undivided, Division.of(settings), ByClass())
        for part, split in (("training", found.train), ("held-out", found.validation), ("test", found.tested)):
            if split is not None and len(split) < FEWEST:
                raise DataError(
                    f"{found.name} has {len(split)} {part} image; {FEWEST} or more are needed to measure a distance: "
                    "add images."
                )
        return PictureData(
            name=found.name,
            classes=(),
            train=with_noise(found.train, settings.split_seed),
            validation=None if found.validation is None else with_noise(found.validation, settings.split_seed + 1),
            test=with_noise(found.tested, settings.split_seed + 2),
            embedding=learn_embedding(found.train.images),
            notes=(NOTE,),
        )

    def offered(self, data: PictureData) -> Mapping[str, Any]:
        """Image shape, and how many numbers an image is made from."""
        channels, height, width = shape = data.image_shape
        return {
            "image_shape": shape,
            "in_channels": channels,
            "image_size": (height, width),
            "latent_features": LATENT,
        }

    def output_shape(self, data: PictureData) -> tuple[int, ...]:
        """An image."""
        return data.image_shape

    def build(self, name: str, data: PictureData, seed: int) -> nn.Module:
        """A network that holds a generator and a discriminator."""
        network = networks.construct(name, self.offered(data), seed, self.networks)
        for part in ("generator", "discriminator"):
            if not isinstance(getattr(network, part, None), nn.Module):
                raise SpecError(
                    f"the network {name!r} has no module {part!r}; for --task generation it needs a generator and a "
                    "discriminator, and forward(noise) must give images."
                )
        return network

    def learner(self, network: nn.Module, data: PictureData, settings: StudySettings) -> Adversarial:
        """Generator and discriminator in turn."""
        return Adversarial(network, self, data, settings)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the discriminator's logits ``outputs`` for ``targets``: 1 real, 0 generated."""
        return F.binary_cross_entropy_with_logits(outputs, targets)

    def objective(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Both losses at once."""
        fake = network(inputs)
        return discriminator_loss(network, fake.detach(), targets) + generator_loss(network, fake)

    def objectives(self, network: nn.Module) -> Sequence[tuple[nn.Module, Callable[[tuple[Tensor, Tensor]], Tensor]]]:
        """The discriminator's loss and the generator's."""

        def discriminator(batch: tuple[Tensor, Tensor]) -> Tensor:
            noise, real = batch
            return discriminator_loss(network, network(noise).detach(), real)

        def generator(batch: tuple[Tensor, Tensor]) -> Tensor:
            return generator_loss(network, network(batch[0]))

        parts = {"discriminator": discriminator, "generator": generator}
        return [(network.get_submodule(name), loss) for name, loss in parts.items()]

    def meters(self, data: PictureData) -> dict[str, Meter]:
        """The distance."""
        # With torchmetrics, which takes seconds to import.
        from limen.lab.tasks.generation.frechet import SmallFID

        return {"small_fid": SmallFID(data.embedding)}

    def reference_metrics(self, data: PictureData) -> dict[str, float]:
        """The distance of as many training images from the test images: a perfect generator has about this."""
        metric = self.meters(data)["small_fid"]
        part = evenly(data.train, len(data.tested))
        real = evenly(data.tested, len(part))
        for (_, ours), (_, theirs) in zip(Batches(part, 250), Batches(real, 250), strict=True):
            metric.update(ours, theirs)
        return {"small_fid": float(metric.compute())}

    def show(self, network: nn.Module, data: PictureData, settings: StudySettings) -> Shown:
        """Some generated images beside real ones."""
        return grid(network, data, settings.device)
