"""Two processes that train one network, as forks of a warm process; what runs in them must be importable."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from helpers import FORKS
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

import limen
from limen.lab.training import processes
from limen.lab.training.average import Average
from limen.lab.training.guesses import GuessAccuracy
from limen.lab.training.learner import Mean, _learning
from limen.training import param_groups

WIDTH, EXAMPLES, STEPS = 6, 8, 3


def in_two_processes(work: Callable[..., Any], folder: Path, *given: Any) -> Any:
    """What the first of them comes to."""
    here, there = FORKS.Pipe(duplex=False)
    members = [FORKS.Process(target=_member, args=(rank, folder, there, work, given)) for rank in range(2)]
    for member in members:
        member.start()
    there.close()
    try:
        found = here.recv() if here.poll(240) else None
    finally:
        for member in members:
            member.join(20)
            member.kill()
    if isinstance(found, Exception):
        raise found
    return found


def _member(rank: int, folder: Path, link: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        found = work(*given)
        if rank == 0:
            link.send(found)
    except Exception as error:  # whatever it is, the test must hear it
        link.send(RuntimeError(f"process {rank}: {type(error).__name__}: {error}"))
    processes.leave()


def network(name: str, dropped: tuple[str, ...] = ()) -> nn.Module:
    """Two activations between linear layers; without noise, which two processes draw otherwise than one."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(4, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    limen.swap_(made, name)
    for module in made.modules():
        if isinstance(module, (limen.RReLU, limen.AdAct)):
            module.eval()
        if isinstance(module, limen.AdAct) and dropped:
            module.drop_(dropped)
    return made


def wrapped(made: nn.Module, strategy: str) -> nn.Module:
    """A network as a strategy trains it; FSDP changes it in place."""
    if strategy == "fsdp":
        fully_shard(made)
    return DistributedDataParallel(made) if strategy == "ddp" else made


def trained(name: str, strategy: str, dropped: tuple[str, ...] = ()) -> dict[str, list[float]]:
    """The weights after some steps, each process on its part of the examples."""
    made, which, of = network(name, dropped), processes.rank(), processes.count()
    x = torch.randn(EXAMPLES, 4, generator=torch.Generator().manual_seed(1))[which::of]
    module = wrapped(made, strategy)
    optimiser = torch.optim.AdamW(param_groups(made, 0.01))
    for _ in range(STEPS):
        optimiser.zero_grad()
        torch.autograd.backward((module(x) - 1).square().mean())
        optimiser.step()
    return {key: whole(value).flatten().tolist() for key, value in made.state_dict().items()}


def averaged(strategy: str) -> dict[str, list[float]]:
    """The average of the weights after some steps with clipped gradients, each process on its part of the examples."""
    made, which, of = network("asau"), processes.rank(), processes.count()
    x = torch.randn(EXAMPLES, 4, generator=torch.Generator().manual_seed(1))[which::of]
    module = wrapped(made, strategy)
    optimiser = torch.optim.SGD(param_groups(made, 0.1), momentum=0.9)
    average = Average(made, 0.5)
    for _ in range(STEPS):
        optimiser.zero_grad()
        torch.autograd.backward((module(x) - 1).square().mean())
        clip_grad_norm_(_learning(made, optimiser), 0.3)
        optimiser.step()
        average.update()
    with average.in_place():
        return {key: whole(value).flatten().tolist() for key, value in made.state_dict().items()}


def all_averaged(strategies: tuple[str, ...]) -> list[dict[str, list[float]]]:
    """By each strategy, in one pair of processes."""
    return [averaged(strategy) for strategy in strategies]


def whole(value: Any) -> torch.Tensor:
    """Of a sharded tensor all of it."""
    found: torch.Tensor = value.full_tensor() if isinstance(value, DTensor) else value
    return found.detach()


def all_trained(cases: list[tuple[str, str, tuple[str, ...]]]) -> list[dict[str, list[float]]]:
    """Of several cases, in one pair of processes."""
    return [trained(*case) for case in cases]


def pooled() -> tuple[float, float, list[object]]:
    """A mean and a measure over both processes, and what each has."""
    rank = processes.rank()
    mean, meter = Mean(), GuessAccuracy()
    mean.add(torch.tensor(2.0 + rank), 1 + 2 * rank)
    meter.update(torch.eye(4)[: 3 - rank], torch.tensor([0, 1, 0])[: 3 - rank])
    mean.pool()
    meter.pool()
    return mean.value(), float(meter.compute()), processes.gathered(rank)
