"""Training a generator against a discriminator with Lightning, heard by the same callbacks as any other training."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from limen.lab.settings import StudySettings
from limen.lab.tasks.generation.losses import discriminator_loss, generator_loss
from limen.lab.tasks.generation.pictures import LATENT, PictureData
from limen.lab.training.supervised import Supervised, finite
from limen.lab.training.task import Task
from limen.training import param_groups

BETAS = (0.5, 0.999)
"""Of both Adams. Radford et al. 2016, §3."""
SCORED = 4
"""One batch in so many is measured while training."""


class Adversarial(Supervised):
    """A step of the discriminator and one of the generator for every batch, each with an Adam of its own.

    The noise of training is drawn anew for every batch from a generator of its own, so that for one seed every
    activation sees the same, whatever else it draws. The losses logged are the generator's.
    """

    def __init__(self, network: nn.Module, task: Task[PictureData], data: PictureData, settings: StudySettings) -> None:
        super().__init__(network, task, data, settings)
        self.automatic_optimization = False
        self.data: PictureData = data
        self.random = torch.Generator()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The discriminator's and the generator's."""
        settings = self.settings
        parts = (self.network.get_submodule(name) for name in ("discriminator", "generator"))
        return [
            torch.optim.AdamW(
                param_groups(part, settings.learning_rate, settings.weight_decay, activation_lr=settings.activation_lr),
                betas=BETAS,
            )
            for part in parts
        ]

    def on_fit_start(self) -> None:
        """The run's seed gives the noise's."""
        self.random.manual_seed(int(torch.randint(2**62, ())))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """One step of each."""
        _, real = batch
        discriminator, generator = cast("list[torch.optim.Optimizer]", self.optimizers())
        fake = self.network(torch.randn(len(real), LATENT, generator=self.random).to(real.device))
        self._step(discriminator, discriminator_loss(self.network, fake.detach(), real), index)
        self.toggle_optimizer(generator)  # the discriminator's weights need no gradient of this loss
        loss = generator_loss(self.network, fake)
        self._step(generator, loss, index)
        self.untoggle_optimizer(generator)
        if index % SCORED == 0:
            self.train_score.update(*self.task.answer(fake.detach(), real, self.data))
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(real))
        self.log("train_score", self.train_score, on_step=False, on_epoch=True, batch_size=len(real))

    def _step(self, optimiser: torch.optim.Optimizer, loss: Tensor, index: int) -> None:
        optimiser.zero_grad()
        self.manual_backward(finite(loss, self, index))
        optimiser.step()

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str, measures: MetricCollection) -> None:
        noise, real = batch
        fake = self.network(noise)
        measures.update(*self.task.answer(fake, real, self.data))
        loss = generator_loss(self.network, fake)
        self.log(f"{split}_loss", loss, on_epoch=True, batch_size=len(real))
        self.log_dict(measures, on_epoch=True, batch_size=len(real))
