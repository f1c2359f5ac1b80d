"""A process that computes one run after the other for another process, and ends with it."""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

import torch

from limen.errors import StudyError
from limen.lab.executing.attempt import attempt
from limen.lab.executing.sharing import Opening
from limen.lab.executing.work import Ended, Job, Passed, Started, Work


def serve(link: Connection, opening: Opening, threads: int) -> None:
    """Compute the jobs that come, as long as there is someone who sends them."""
    _become_a_group()
    _end_with_parent()
    torch.set_num_threads(threads)
    work: Work | None = None
    with suppress(EOFError, OSError):  # whoever sends the jobs is gone
        while True:
            job = link.recv()
            try:
                with logged(job.log):
                    work = work or opening.open()
                    link.send(_computed(work, job, link))
            except Exception as error:  # whatever it is, who waits for the run must hear it
                link.send(sendable(error))


def _computed(work: Work, job: Job, link: Connection) -> Ended:
    link.send(Started(job, f"process {os.getpid()}"))
    try:
        return Ended(job, attempt(work, job, lambda row: link.send(Passed(job, row))))
    except Exception:
        traceback.print_exc()  # to the run's log: only the error itself is sent
        raise


def sendable(error: Exception) -> Exception:
    """The error, or where it cannot be sent to another process, one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # anything may happen in an error's own code
        return StudyError(f"a run failed ({type(error).__name__}: {error}).")
    return error


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """Have all that is printed, by libraries in C too, stand in a file."""
    try:
        if path is not None:
            path.parent.mkdir(exist_ok=True)
        file = os.open(path or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:  # no run is lost for its log
        file = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    # Those of the parent may have been in use, and locked, in another thread when this process was made.
    sys.stdout, sys.stderr = (_stream(number) for number in (1, 2))
    faulthandler.enable(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()


def _stream(number: int) -> TextIO:
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), errors="replace", line_buffering=True)


def _become_a_group() -> None:
    """Ctrl-C at a terminal reaches the command alone, which ends this process and all that it has begun."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        os.setsid()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None

    def watch(sentinel: Any) -> None:
        connection.wait([sentinel])
        if hasattr(os, "killpg"):
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()
