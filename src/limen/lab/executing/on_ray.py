"""Runs as tasks of Ray, on this machine or on a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from typing_extensions import Self

import limen
from limen.errors import StudyError, require
from limen.lab.executing.attempt import attempt, too_slow
from limen.lab.executing.execution import Execution
from limen.lab.executing.own_ray import ended_at_once
from limen.lab.executing.sharing import Packed, pack
from limen.lab.executing.work import Died, Ended, Event, Job, Passed, Said, Started, Work
from limen.lab.records import RunRecord

PATIENCE = 20.0
"""Seconds in which a Ray must answer; importing it takes some of them."""
UNKNOWN_TO_IT = b"AuthenticationError"
"""What ``ray status`` says of a Ray that wants a token; it does not look for one, as ``ray start`` and others do."""
CLIENT = "ray://"
MOMENT = 1.0
"""Seconds after which a wait returns."""


def require_answer(address: str) -> None:
    """Raise where Ray is not installed, or nothing listens where it is said to be."""
    _library()
    if not address:
        return
    if address != "auto":
        _require_listener(address)
    # Connecting itself waits for two minutes where something else listens, and prints meanwhile.
    asked = [sys.executable, "-m", "ray.scripts.scripts", "status", *(["--address", address] * (address != "auto"))]
    try:
        answer = subprocess.run(asked, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise _silent(address, f"nothing came within {PATIENCE:g} seconds") from None
    if UNKNOWN_TO_IT in answer.stderr:
        _require_token(address)
    elif answer.returncode:
        raise _silent(address, "none was found" if address == "auto" else "something else does")


def _require_token(address: str) -> None:
    """Where a Ray of this machine is looked for, Ray finds its token by itself."""
    if address != "auto":
        raise StudyError(
            f"the Ray at {address!r} wants its token; set RAY_AUTH_MODE=token, with that Ray's token in "
            "~/.ray/auth_token or in RAY_AUTH_TOKEN, or give --on ray:auto on its own machine."
        )


def _require_listener(address: str) -> None:
    if address.startswith(CLIENT):
        raise StudyError(
            f"{address!r} is an address of Ray's client, over which no run can be computed; give the one that "
            "'ray start --head' names, --on ray:HOST:6379, or --on ray:auto, on a machine of that Ray."
        )
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise StudyError(f"{address!r} is no address of Ray; give --on ray:auto or --on ray:HOST:PORT.")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _silent(address, getattr(error, "strerror", None) or str(error)) from None


@contextmanager
def connected(execution: Execution, network: str) -> Iterator[Any]:
    """Ray, connected to the cluster that was named or to one that is started and ended here."""
    ray = _library()
    own = not execution.address
    shared: dict[str, Any] = {
        "runtime_env": {"py_modules": shipped(network)},
        "log_to_driver": False,
        "logging_level": "CRITICAL",
    }
    with ended_at_once(ray) if own else left(ray):
        try:
            ray.init(address=execution.address or "local", **shared, **({"include_dashboard": False} if own else {}))
        except Exception as error:  # Ray raises that itself, as where its own processes do not start in time
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise _silent(execution.address or "local", why) from None
        yield ray


@contextmanager
def left(ray: Any) -> Iterator[None]:
    """Around all that is done with a Ray which goes on afterwards."""
    try:
        yield
    finally:
        ray.shutdown()


def shipped(network: str) -> list[str]:
    """The files that the runs need where they are computed: limen, and what a network of one's own is made of."""
    own = Path(limen.__file__).parent
    if ":" not in network:
        return [str(own)]
    here = Path.cwd()
    names = {name.partition(".")[0] for name in list(sys.modules)} - {"limen", "__main__"}
    files = (Path(file) for name in names if (file := getattr(sys.modules.get(name), "__file__", None)))
    found = [file.parent if file.name == "__init__.py" else file for file in files]
    return [str(own), *sorted(str(path) for path in found if path.parent == here)]


class Tasks:
    """So many tasks at a time, each with its share of processors and GPUs."""

    def __init__(self, ray: Any, work: Work, execution: Execution, threads: int, at_most: int) -> None:
        self.ray, self.timeout, self.threads = ray, execution.timeout_per_run, threads
        cpus = threads if execution.cpus_per_run is None else execution.cpus_per_run
        self.jobs = min(at_most, execution.jobs or at_most, _places(ray, cpus, execution.gpus_per_run))
        home = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._mailbox = ray.remote(_Mailbox).options(num_cpus=0, scheduling_strategy=home).remote()
        self._work = ray.put(pack(work))
        # What is lost is begun again by the study, which notes it.
        self._task = ray.remote(_compute).options(num_cpus=cpus, num_gpus=execution.gpus_per_run, max_retries=0)
        self._asked: Any = None
        self._jobs: dict[Any, Job] = {}
        self._deadlines: dict[tuple[str, int], float] = {}

    @property
    def free(self) -> int:
        """Tasks that may still be handed to Ray."""
        return self.jobs - len(self._jobs)

    def submit(self, job: Job) -> None:
        """Hand the job to Ray."""
        ref = self._task.remote(self._work, replace(job, log=None), self.threads, self._mailbox, os.getcwd())
        self._jobs[ref] = job

    def wait(self, hear: Callable[[Event], None]) -> None:
        """Tell what the tasks have told, and what became of those that are done, gone, or take too long."""
        self._asked = self._asked or self._mailbox.take.remote(MOMENT)
        ready, _ = self.ray.wait([self._asked, *self._jobs], timeout=MOMENT)
        ended = [ref for ref in ready if ref != self._asked]
        if ready:
            asked, self._asked = self._asked, None
            self._listen(hear, asked)
        if ended:  # the last that it told may have come after that was answered
            self._listen(hear, self._mailbox.take.remote(0))
        errors: list[Exception] = []
        for ref in ended:
            job = self._jobs.pop(ref)
            self._deadlines.pop(job.key, None)
            found = self._result(ref, job)
            if isinstance(found, Exception):
                errors.append(found)
            else:
                hear(found)
        self._end_late(hear)
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for ref in self._jobs:
            with contextlib.suppress(Exception):  # Ray itself may be gone
                self.ray.cancel(ref, force=True)

    def _listen(self, hear: Callable[[Event], None], taken: Any) -> None:
        by_key = {job.key: job for job in self._jobs.values()}
        for event in self.ray.get(taken):
            job = by_key.get(event.job.key)
            if job is None:
                continue
            if isinstance(event, Started) and self.timeout is not None:
                self._deadlines[job.key] = time.monotonic() + self.timeout
            hear(replace(event, job=job))

    def _result(self, ref: Any, job: Job) -> Event | Exception:
        """The run, that it was lost, or the error of its own code."""
        errors = self.ray.exceptions
        try:
            return Ended(job, self.ray.get(ref))
        except errors.RayTaskError as error:
            cause = error.cause
            return cause if isinstance(cause, Exception) else StudyError(f"a run failed on Ray: {cause}.")
        except errors.OutOfMemoryError:
            return Died(job, "by Ray, because the memory of its machine was short", memory=True)
        except errors.RuntimeEnvSetupError as error:
            return StudyError(f"Ray could not bring limen to a machine ({' '.join(str(error).split())[:300]}).")
        except errors.RayError as error:
            return Died(job, f"with {type(error).__name__} of Ray", memory=True)

    def _end_late(self, hear: Callable[[Event], None]) -> None:
        now = time.monotonic()
        for ref, job in list(self._jobs.items()):
            if self.timeout is not None and now >= self._deadlines.get(job.key, now + 1):
                self.ray.cancel(ref, force=True)
                del self._jobs[ref], self._deadlines[job.key]
                hear(Ended(job, too_slow(job, self.timeout)))


class _Mailbox:
    """What the tasks tell, until it is taken."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.filled = asyncio.Event()

    async def put(self, event: Event) -> None:
        self.events.append(event)
        self.filled.set()

    async def take(self, patience: float) -> Sequence[Event]:
        """What came since, as soon as there is anything, or nothing after so many seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            if not self.events:
                await asyncio.wait_for(self.filled.wait(), patience)
        taken, self.events = self.events, []
        self.filled.clear()
        return taken


def _compute(packed: Packed, job: Job, threads: int, mailbox: Any, folder: str) -> RunRecord:
    """One run in a process of Ray's."""
    ray = _library()
    known = replace(job, needed=None)
    printed = io.StringIO()

    def tell(event: Event) -> None:
        with contextlib.suppress(ray.exceptions.RayError):  # no run is lost for its progress
            if printed.getvalue():
                ray.get(mailbox.put.remote(Said(known, printed.getvalue())))
                printed.seek(0)
                printed.truncate()
            ray.get(mailbox.put.remote(event))

    with contextlib.suppress(OSError):  # another machine need not have it
        os.chdir(folder)
    torch.set_num_threads(threads)
    tell(Started(known, f"process {os.getpid()} on {socket.gethostname()}"))
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        run = attempt(packed.open(), job, lambda row: tell(Passed(known, row)))
    if printed.getvalue():
        tell(Said(known, ""))
    return run


def _library() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    return require("ray", "ray", "--on ray needs Ray")


def _places(ray: Any, cpus: float, gpus: float) -> int:
    """How many runs find place at a time.

    Raises:
        StudyError: if none does.
    """
    there = ray.cluster_resources()
    found = []
    for name, option, each in (("CPU", "--cpus-per-run", cpus), ("GPU", "--gpus-per-run", gpus)):
        has = there.get(name, 0.0)
        most = max((node["Resources"].get(name, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        if each > most:
            raise StudyError(
                f"{option} {each:g} is more than any machine of this Ray has: {most:g} of {has:g} {name}s; give less."
            )
        if each:
            found.append(int(has / each))
    return max(1, min(found, default=1))


def _silent(address: str, why: str) -> StudyError:
    return StudyError(
        f"no Ray answers at {address!r} ({why.rstrip('.')}); start one with 'ray start --head', or leave out --on."
    )
