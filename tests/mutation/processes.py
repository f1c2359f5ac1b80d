"""A task in a process of its own, which may crash, hang, and write what it likes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENDS = {None: "it waited for ever", -signal.SIGKILL: "it took too long", -signal.SIGXCPU: "it took too long"}


def forked(task: Callable[[Path], dict[str, Any]], within: float) -> tuple[dict[str, Any] | None, str]:
    """What a task in a process of its own gives, and what it says; no gift if it crashes or takes too many seconds."""
    work = Path(tempfile.mkdtemp(dir=_scratch()))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            log = os.open(work / "log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            limit = int(within) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            (work / "found.json").write_text(json.dumps(task(work)), encoding="utf-8")
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())  # not sys.stderr, which pytest has put elsewhere
        finally:
            os._exit(code)
    ended = _wait(child, time.monotonic() + 20 * within)
    found, said = work / "found.json", work / "log"
    given = json.loads(found.read_text(encoding="utf-8")) if ended == 0 else None
    text = said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""
    shutil.rmtree(work, ignore_errors=True)
    return given, text if ended in (0, 1) else ENDS.get(ended, "it crashed")


def alone(work: Path) -> None:
    """Nothing that a mutant writes stays: its own home and kernels, which begin as the common ones."""
    own = work / "kernels"
    own.mkdir(mode=0o700)
    for entry in _kernels().glob("*-*.*"):
        os.link(entry, own / entry.name)
    os.environ.update(LIMEN_CACHE=str(own), HOME=str(work), XDG_CACHE_HOME=str(work / "cache"), TMPDIR=str(work))
    tempfile.tempdir = None


def _wait(child: int, until: float) -> int | None:
    """How a process ended, nothing if it did not; then it and all that it started are gone."""
    ended, status = 0, 0
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


def _scratch() -> Path:
    """On the file system of the kernels, so that they can be linked."""
    folder = Path(os.environ["LIMEN_MUTANTS"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kernels() -> Path:
    return Path(os.environ["LIMEN_CACHE"])
