"""The first call of a network, which may be anyone's and take other inputs than there are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limen.errors import StudyError
from limen.lab.training.experiment import Experiment


def outputs_of(network: nn.Module, inputs: Tensor, experiment: Experiment) -> Any:
    """What the network gives in evaluation, in which it is left.

    Raises:
        StudyError: if it cannot take them, saying why and what else to try.
    """
    settings = experiment.settings
    try:
        with torch.no_grad():
            return network.eval()(inputs)
    except Exception as error:  # anything may happen in a network that is not ours
        reason = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
        shape, unit = tuple(inputs.shape[1:]), experiment.data.facts().unit
        other = "--image-size or --network" if "image_size" in experiment.task.options else "--network"
        raise StudyError(
            f"the network {settings.network!r} cannot take {unit} of shape {shape} ({reason}); try another {other}."
        ) from error
