"""Why a norm or an activation is computed by itself, as a few words for a report; empty where it need not be."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from limen.beside.making import one_pass_of
from limen.beside.norm import BATCH, ROWS
from limen.beside.pairs import LEAST_PLACES, OVERWRITES, called, computing, is_plain_norm
from limen.kernels import dispatch
from limen.kernels.weights import spread
from limen.surgery.hooks import watched_by


def no_activation(activation: Any, after_norm: bool) -> str:
    """Why an activation, a module or a function, is not computed with its neighbour."""
    if isinstance(activation, nn.Module) and (hooks := watched_by(activation)):
        return hooks
    name = type(activation).__name__ if isinstance(activation, nn.Module) else getattr(activation, "__name__", "it")
    module = computing(activation, fresh=after_norm)
    if not after_norm and getattr(type(activation), OVERWRITES, False):
        return f"{name} overwrites its input, which others may hold"
    found = None if module is None else one_pass_of(module)
    if found is None:
        return f"limen has no formula of {name}"
    bound = found[0]
    if after_norm and bound.contexts:
        return f"{name} takes statistics of its own input"
    reason = dispatch.why_no_kernel(bound)
    return f"{name} runs on torch's operators: {reason}" if reason else ""


def not_together(norm: Any, activation: Any) -> str:
    """Why a norm is not computed with an activation that is computed with norms."""
    why = no_norm(norm)
    found = called(activation, fresh=True) if not why and type(norm) in ROWS else None
    if found is None or all(tensor.numel() == 1 for tensor in spread(found[0], found[1])):
        return why
    return f"{type(norm).__name__} has a weight for each place, and the activation a parameter for each channel"


def no_norm(norm: Any) -> str:
    """Why a norm is not computed with its activation."""
    if hooks := watched_by(norm):
        return hooks
    name = type(norm).__name__
    if type(norm) not in (*BATCH, *ROWS, nn.GroupNorm):
        ours = type(norm).__module__.startswith("torch.nn.")
        return f"{name} is computed by itself" if ours else f"{name} is a class of its own"
    if not is_plain_norm(norm):
        return f"{name} has statistics that it does not track"
    if type(norm) in ROWS:
        places, least = math.prod(norm.normalized_shape), LEAST_PLACES[type(norm)]
        if places < least:
            return f"{name} of {places} values is as fast by itself; it takes {least}"
    elif (norm.weight is None) != (norm.bias is None):
        return f"{name} has a weight and no bias"
    tensors = [*norm.parameters(), *norm.buffers()]
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return f"on {tensors[0].device} norm and activation are computed one after the other"
    if any(tensor.dtype is torch.float64 for tensor in tensors):
        return "there are no kernels of float64"
    return ""
