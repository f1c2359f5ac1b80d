"""Hugging Face's ``Trainer`` leaves the parameters of activations out of weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from limen.training import activation_parameters


def exempt_activations(trainer: Any) -> Callable[[], None]:
    """Teach the class ``Trainer`` which parameters not to decay, beside biases and norms; gives the way back."""
    original = trainer.get_decay_parameter_names

    def get_decay_parameter_names(self: Any, model: nn.Module) -> list[str]:
        ours = {id(parameter) for parameter in activation_parameters(model)}
        exempt = {name for name, one in model.named_parameters(remove_duplicate=False) if id(one) in ours}
        return [name for name in original(self, model) if name not in exempt]

    trainer.get_decay_parameter_names = get_decay_parameter_names

    def undo() -> None:
        trainer.get_decay_parameter_names = original

    return undo
