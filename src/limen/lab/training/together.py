"""Several processes that train one network: made here on this machine, or by torchrun on one or many."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from limen.errors import StudyError
from limen.lab.records import EpochRow, RunRecord
from limen.lab.training import processes
from limen.lab.training.experiment import Experiment

Work = Callable[..., RunRecord]
"""Trains in one of the processes: the experiment, whom to tell about epochs, and what else it is given."""
MOMENT = 5
"""Seconds in which the others end when one of them has failed."""


def joined() -> bool:
    """Whether this process is one of several that were made to train together."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def first() -> bool:
    """Whether this process speaks for all: of several that torchrun has started only one does."""
    return not joined() or os.environ["RANK"] == "0"


def run(work: Work, experiment: Experiment, listener: Callable[[EpochRow], None], given: tuple[Any, ...]) -> RunRecord:
    """Do the work in as many new processes as there are to be devices; what the first of them comes to."""
    start: Any = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    start.set_forkserver_preload(["limen.lab.training.run", "limen.lab.training.fabric"])
    count, port = experiment.settings.devices, _free_port()
    threads = max(1, torch.get_num_threads() // count)
    here, there = start.Pipe(duplex=False)
    members = [
        start.Process(target=_member, args=(rank, count, port, threads, there, work, experiment, given), daemon=True)
        for rank in range(count)
    ]
    try:
        for member in members:
            member.start()
        there.close()
        return _heard(here, members, listener)
    finally:
        for member in members:
            member.kill()
            member.join()


def _heard(link: Connection, members: list[Any], listener: Callable[[EpochRow], None]) -> RunRecord:
    """Listen until the work is done, or a process is gone that should not be."""
    while True:
        connection.wait([link, *(member.sentinel for member in members)])
        if link.poll():
            try:
                what = link.recv()
            except EOFError:
                what = None
            if isinstance(what, EpochRow):
                listener(what)
                continue
            if isinstance(what, RunRecord):
                return what
            if isinstance(what, BaseException):
                raise what
        gone = next((member for member in members if member.exitcode is not None), None)
        if gone is not None and not link.poll(MOMENT):
            raise StudyError(f"a process that trained with others ended (exit code {gone.exitcode}).")


def _member(
    rank: int,
    count: int,
    port: int,
    threads: int,
    link: Connection,
    work: Work,
    experiment: Experiment,
    given: tuple[Any, ...],
) -> None:
    """One of them, as torchrun would have started it."""
    torch.set_num_threads(threads)
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "limen",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        **{name: str(rank) for name in ("RANK", "LOCAL_RANK")},
        **{name: str(count) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")},
        "GROUP_RANK": "0",
    }
    said = link.send if rank == 0 else lambda row: None
    try:
        record = work(on_own_device(experiment), said, *given)
    except Exception as error:  # whatever it is, who waits for the run must hear it
        link.send(error)
        time.sleep(MOMENT)
        return
    if rank == 0:
        link.send(record)
        link.close()
    processes.leave()


def on_own_device(experiment: Experiment) -> Experiment:
    """With the GPU that is this process's own."""
    settings = experiment.settings
    if not joined() or torch.device(settings.device).type != "cuda":
        return experiment
    device = f"cuda:{os.environ['LOCAL_RANK']}"
    return replace(experiment, settings=settings.model_copy(update={"device": device}))


@contextmanager
def folder_of(out: Path, devices: int) -> Iterator[Path]:
    """Where this process keeps the study: under torchrun only the first has the folder, and the others a copy."""
    if not joined() or devices == 1:
        yield out
        return
    if int(os.environ["WORLD_SIZE"]) != devices:
        raise StudyError(
            f"torchrun has started {os.environ['WORLD_SIZE']} processes, and --devices is {devices}; give the same."
        )
    processes.meet()
    found = processes.told(_files(out) if processes.rank() == 0 else None)
    if processes.rank() == 0:
        yield out
    else:
        assert isinstance(found, dict)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in found.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            yield Path(folder)
    processes.leave()


def _files(out: Path) -> dict[str, bytes]:
    """What a study goes on from."""
    patterns = ("study.json", "cost.json", "runs/*.json", "trials/*.json", "checkpoints/*.pt")
    return {str(path.relative_to(out)): path.read_bytes() for pattern in patterns for path in out.glob(pattern)}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
