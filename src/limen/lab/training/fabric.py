"""Several devices, sharded weights, half precision: by Lightning Fabric, with FSDP's second form from torch."""

from __future__ import annotations

import copy
import logging
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from limen.lab.settings import StudySettings
from limen.lab.training import processes
from limen.lab.training.engine import Engine, MakeOptimisers

SHARDED_ALONE = 1_000_000
"""A module of so many parameters is gathered by itself for its own step, and what is smaller with what it lies in."""


class FabricEngine(Engine):
    """As the settings say; in several processes each of them makes its own."""

    def __init__(self, settings: StudySettings) -> None:
        logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
        kind = torch.device(settings.device).type
        self.sharded = settings.devices > 1 and settings.strategy == "fsdp"
        here = int(os.environ.get("LOCAL_WORLD_SIZE", settings.devices))
        self.fabric = Fabric(
            accelerator="gpu" if kind == "cuda" else kind,
            devices=here if settings.devices > 1 or kind != "cuda" else [torch.device(settings.device).index or 0],
            num_nodes=settings.devices // here,
            strategy="ddp" if settings.devices > 1 else "auto",
            precision="32-true" if settings.precision == "32" else settings.precision,
        )
        self.fabric.launch()

    def prepare(
        self, module: nn.Module, make_optimisers: MakeOptimisers
    ) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
        """Shared by the processes, or sharded among them."""
        if self.sharded:
            _shard(module)
        elif processes.count() > 1:
            module = self.fabric.strategy.setup_module(_with_common_statistics(module))
        return module, [self.fabric.setup_optimizers(optimiser) for optimiser in make_optimisers()]  # type: ignore[misc]

    def precision(self) -> AbstractContextManager[object]:
        """Mixed, or nothing."""
        return self.fabric.autocast()

    def failed(self, loss: float) -> bool:
        """Every process hears of it, or the others would wait for its gradients."""
        finite = torch.tensor(float(not math.isfinite(loss)), device=self.fabric.device)
        return bool(processes.summed(finite))

    def backward(self, loss: Tensor) -> None:
        """Scaled where halves need it; averaged over the processes."""
        self.fabric.backward(loss)

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        """What was scaled."""
        self.fabric.strategy.precision.unscale_gradients(optimiser)

    def own(self, optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """The optimiser that Fabric has wrapped."""
        own: torch.optim.Optimizer = getattr(optimiser, "optimizer", optimiser)
        return own

    def weights(self, network: nn.Module) -> dict[str, Any]:
        """Whole, in every process."""
        if not self.sharded:
            return super().weights(network)
        return {name: _whole(value) for name, value in network.state_dict().items()}

    def load_weights(self, network: nn.Module, state: dict[str, Any]) -> None:
        """Each process takes its part."""
        if not self.sharded:
            return super().load_weights(network, state)
        set_model_state_dict(network, state, options=StateDictOptions(full_state_dict=True))
        return None

    def learned(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """The optimiser's state, whole."""
        if not self.sharded:
            return super().learned(network, optimiser)
        return get_optimizer_state_dict(network, self.own(optimiser), options=StateDictOptions(full_state_dict=True))

    def load_learned(self, network: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Each process takes its part."""
        if not self.sharded:
            return super().load_learned(network, optimiser, state)
        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(network, self.own(optimiser), state, options=options)
        return None


def _shard(module: nn.Module) -> None:
    """Modules of a million parameters by themselves, from the inside out, then the whole."""
    for part in reversed(list(module.modules())[1:]):
        if sum(p.numel() for p in part.parameters() if not isinstance(p, DTensor)) >= SHARDED_ALONE:
            fully_shard(part)
    fully_shard(module)


def _with_common_statistics(module: nn.Module) -> nn.Module:
    """Batch normalisation over the whole batch; torch has it for GPUs only."""
    on_gpu = any(parameter.is_cuda for parameter in module.parameters())
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(module) if on_gpu else module


def _whole(value: Any) -> Any:
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    return whole.detach().clone() if isinstance(whole, Tensor) else copy.deepcopy(whole)
