"""Training a generator against a discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from limen.lab.settings import StudySettings
from limen.lab.tasks.generation.losses import discriminator_loss, generator_loss
from limen.lab.tasks.generation.pictures import LATENT, PictureData
from limen.lab.training.learner import Mean, Taught
from limen.lab.training.optimisers import optimiser_of
from limen.lab.training.supervised import Supervised
from limen.lab.training.task import Task

BETAS = (0.5, 0.999)
"""Of both Adams. Radford et al. 2016, §3."""
SCORED = 4
"""One batch in so many is measured while training."""


class Adversarial(Supervised):
    """A step of the discriminator and one of the generator for every batch, each with an optimiser of its own.

    The noise of training is drawn anew for every batch from a generator of its own, so that for one seed every
    activation sees the same, whatever else it draws. The losses noted are the generator's.
    """

    by_batch: ClassVar[bool] = True
    divisible: ClassVar[bool] = False

    def __init__(self, network: nn.Module, task: Task[PictureData], data: PictureData, settings: StudySettings) -> None:
        super().__init__(network, task, data, settings)
        self.random = torch.Generator()

    def make_optimisers(self) -> list[torch.optim.Optimizer]:
        """The discriminator's and the generator's."""
        parts = (self.network.get_submodule(name) for name in ("discriminator", "generator"))
        return [optimiser_of(part, self.settings, betas=BETAS) for part in parts]

    def compile(self) -> None:
        """Both networks."""
        for part in ("discriminator", "generator"):
            self.network.get_submodule(part).compile()

    def begin(self) -> None:
        """The run's seed gives the noise's."""
        self.random.manual_seed(int(torch.randint(2**62, ())))

    def random_state(self) -> Tensor:
        """Of the noise."""
        return self.random.get_state()

    def continue_from(self, random_state: object) -> None:
        """With the noise that is next."""
        assert isinstance(random_state, Tensor)
        self.random.set_state(random_state)

    def step(self, batch: tuple[Tensor, Tensor], index: int) -> Taught:
        """One step of each."""
        _, real = batch
        discriminator, generator = self.optimisers
        with self.engine.precision():
            fake = self.network(torch.randn(len(real), LATENT, generator=self.random).to(real.device))
            loss = discriminator_loss(self.network, fake.detach(), real)
        self.descend(discriminator, loss)
        with _fixed(discriminator, generator):
            with self.engine.precision():
                loss = generator_loss(self.network, fake)
            self.descend(generator, loss)
        return Taught(loss, len(real), (fake, real) if index % SCORED == 0 else None)

    def measure(self, batch: tuple[Tensor, Tensor], losses: Mean) -> None:
        """Images from the held-out noise, beside real ones."""
        noise, real = batch
        fake = self.network(noise)
        self.take_in(fake, real)
        losses.add(generator_loss(self.network, fake), len(real))


@contextmanager
def _fixed(discriminator: torch.optim.Optimizer, generator: torch.optim.Optimizer) -> Iterator[None]:
    """The discriminator's weights need no gradient of the generator's loss."""
    kept = {id(parameter) for parameter in _parameters(generator)}
    fixed = [one for one in _parameters(discriminator) if one.requires_grad and id(one) not in kept]
    for parameter in fixed:
        parameter.requires_grad_(False)
    yield
    for parameter in fixed:
        parameter.requires_grad_(True)


def _parameters(optimiser: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimiser.param_groups:
        yield from group["params"]
