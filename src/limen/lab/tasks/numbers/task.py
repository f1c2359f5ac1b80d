"""What regression and forecasting share: squared error, and RMSE, MAE and R² in the target's own unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.settings import StudySettings
from limen.lab.tasks.numbers import declared, residuals
from limen.lab.tasks.numbers.data import NumberData
from limen.lab.training.batches import Batches
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task


class NumericTask(declared.NumericTask, Task[NumberData]):
    """One number for each example; RMSE decides, and lower is better.

    Targets have two columns or more: the first is what the network is to give, the second is its unit, in which the
    metrics are. All of them are differences of predictions and truth, so what was subtracted from both is left out.
    """

    def offered(self, data: NumberData) -> Mapping[str, Any]:
        """How many inputs, and that one number is asked for."""
        shape = data.input_shape
        return {"input_shape": shape, "in_features": shape[-1], "out_features": 1}

    def output_shape(self, data: NumberData) -> tuple[int, ...]:
        """One number."""
        return (1,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error, in units of the target's deviation."""
        return F.mse_loss(outputs[:, 0], targets[:, 0])

    def meters(self, data: NumberData) -> dict[str, Meter]:
        """RMSE, MAE, R²."""
        scores = {"rmse": residuals.rmse, "mae": residuals.mae, "r2": residuals.r2}
        return {name: residuals.ResidualScore(score) for name, score in scores.items()}

    def answer(self, outputs: Tensor, targets: Tensor, data: NumberData) -> tuple[Tensor, Tensor]:
        """In the target's unit, on the CPU in double precision, in which a level loses none of its changes."""
        given, (wanted, unit, *_) = doubled(outputs[:, 0]), doubled(targets).unbind(1)
        return given * unit, wanted * unit


def doubled(numbers: Tensor) -> Tensor:
    """In double precision, which some devices do not have."""
    return numbers.detach().cpu().double()


@torch.no_grad()
def predicted(network: nn.Module, data: NumberData, settings: StudySettings) -> Tensor:
    """What a network gives for every test example, (N,)."""
    network.eval()
    batches = Batches(data.tested, settings.eval_batch_size, device=settings.device)
    return torch.cat([network(inputs)[:, 0].cpu() for inputs, _ in batches])
