"""Processes of this machine, one for each run that is computed at a time.

Each has a pipe of its own: one that is killed takes nothing with it, and one whose run does not end can be. A pool of
``concurrent.futures`` or loky loses all its runs with one process, and ends no single one.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from typing_extensions import Self

from limen.lab.executing.attempt import too_slow
from limen.lab.executing.sharing import Inherited, Opening, pack, write
from limen.lab.executing.work import Died, Ended, Event, Job, Started, Work
from limen.lab.executing.worker import serve

MOMENT = 1.0
"""Seconds after which a wait returns."""
PRELOADED = ["limen.lab.executing.worker", "limen.lab.study.searching"]
"""What takes seconds to import, and every worker needs."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    link: Connection
    job: Job | None = None
    deadline: float | None = None

    def kill(self) -> None:
        """End it, and what it has begun."""
        pid = self.process.pid
        with suppress(OSError):  # it has ended, or has not yet begun to be a group
            if pid is not None and hasattr(os, "killpg"):
                os.killpg(pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.link.close()


class Processes:
    """So many processes, each made when there is a job for it, and again where it is gone."""

    def __init__(self, work: Work, jobs: int, threads: int, timeout: float | None, device: str) -> None:
        self.jobs, self.threads, self.timeout = jobs, threads, timeout
        self.context = _context(threads, device)
        self._work = work
        self._opening: Opening | None = Inherited(work) if self.context.get_start_method() == "fork" else None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._workers: list[_Worker] = []

    @property
    def free(self) -> int:
        """Processes that compute nothing or are still to be made."""
        return self.jobs - len(self._busy)

    def submit(self, job: Job) -> None:
        """Give the job to a process that has none."""
        while True:
            worker = next((worker for worker in self._workers if worker.job is None), None) or self._begun()
            try:
                worker.link.send(job)
            except OSError:  # it was killed while it waited
                self._forget(worker)
                continue
            worker.job = job
            return

    def wait(self, hear: Callable[[Event], None]) -> None:
        """Tell what the processes send, and what became of those that are gone or take too long."""
        busy = {worker.link: worker for worker in self._busy}
        errors: list[Exception] = []
        for link in connection.wait(list(busy), timeout=self._patience()):
            worker = busy[link]  # type: ignore[index]  # what waits is what was given
            found = self._received(worker)
            if isinstance(found, Exception):
                errors.append(found)
                worker.job = None
                continue
            if isinstance(found, Started) and self.timeout is not None:
                worker.deadline = time.monotonic() + self.timeout
            if isinstance(found, Ended):
                worker.job = worker.deadline = None
            hear(found)
        self._end_late(hear)
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._workers):
            self._forget(worker)
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]

    def _received(self, worker: _Worker) -> Event | Exception:
        job = worker.job
        assert job is not None
        try:
            found: Event | Exception = worker.link.recv()
        except (EOFError, OSError):
            self._forget(worker)
            code = worker.process.exitcode
            return Died(job, _ending(code), memory=code == -signal.SIGKILL)
        return found

    def _end_late(self, hear: Callable[[Event], None]) -> None:
        now = time.monotonic()
        for worker in self._busy:
            if worker.deadline is not None and now >= worker.deadline:
                assert worker.job is not None
                assert self.timeout is not None
                self._forget(worker)
                hear(Ended(worker.job, too_slow(worker.job, self.timeout)))

    def _patience(self) -> float:
        """Seconds until something may have to be done though nothing was sent."""
        deadlines = [worker.deadline for worker in self._busy if worker.deadline is not None]
        return max(0.0, min([MOMENT, *(deadline - time.monotonic() for deadline in deadlines)]))

    def _begun(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe()
        process = self.context.Process(  # type: ignore[attr-defined]  # every context has it
            target=serve, args=(theirs, self._opened(), self.threads), daemon=False
        )
        gc.freeze()  # a collection in a fork would write to, and so copy, the pages that it shares
        process.start()
        gc.unfreeze()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _opened(self) -> Opening:
        if self._opening is None:
            self._folder = tempfile.TemporaryDirectory(prefix="limen-")
            self._opening = write(pack(self._work), Path(self._folder.name) / "data")
        return self._opening

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.kill()


def _context(threads: int, device: str) -> BaseContext:
    """How processes are made: by a fork, which imports nothing and shares the data, where that is safe.

    A fork has none of its parent's threads, and the libraries that started them wait for them. With one thread a run
    starts none; what reaches for a GPU cannot be forked at all.
    """
    here = sys.platform == "linux" and threads == 1 and device == "cpu" and not torch.accelerator.is_available()
    if here and _forks_learn():
        return multiprocessing.get_context("fork")
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _forks_learn() -> bool:
    """Whether a fork of this process can compute gradients: once torch has begun threads for them, it refuses to there.

    So it is after deeply nested backward passes, and after other work in a process that is not a command's own. Tried
    in a fork, since torch tells by no name that others may use.
    """
    child = os.fork()
    if child == 0:
        try:
            torch.ones(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _ending(code: int | None) -> str:
    """How a process ended, in words.

    >>> _ending(-9), _ending(1)
    ('by SIGKILL', 'with exit code 1')
    """
    if code is not None and code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"by {names.get(-code, f'signal {-code}')}"
    return f"with exit code {code}"
