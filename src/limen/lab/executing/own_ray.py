"""A Ray that is started here, from its first process to its last: each is ended at once, and none is waited for.

Left to itself, Ray asks one after the other to end and gives each a second: 1.5 s where nothing else runs, and many
times as long where much does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from limen.errors import require

OF_RAY = "/ray/"
"""What stands in the command of each process that a driver starts: the path of Ray's files."""
STORE = "gcs_server"
"""What a driver says goodbye to. Where it is gone, that takes five seconds."""


@contextmanager
def ended_at_once(ray: Any) -> Iterator[None]:
    """Around all that is done with a Ray which is started here; interrupted while it starts, it is ended too."""
    before = {process.pid for process in _children()}
    try:
        yield
    finally:
        _end(before, spared=(STORE,))
        ray.shutdown()
        _end(before)


def _end(before: Collection[int], spared: Collection[str] = ()) -> None:
    """End Ray's processes, and what they have made."""
    for process in _children():
        with contextlib.suppress(OSError, _of_psutil().Error):  # it has ended by itself
            if process.pid in before or process.name() in spared or OF_RAY not in _command(process):
                continue
            process.suspend()  # what it would make from now on, nobody would find
            for one in (*process.children(recursive=True), process):
                with contextlib.suppress(_of_psutil().NoSuchProcess):
                    one.kill()


def _command(process: Any) -> str:
    return " ".join(process.cmdline()).replace("\\", "/")


def _children() -> list[Any]:
    found: list[Any] = _of_psutil().Process().children()
    return found


def _of_psutil() -> Any:
    return require("psutil", "ray", "--on ray needs psutil, which Ray brings")
