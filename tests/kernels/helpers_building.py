"""What the tests of compiler and cache share: a small source, scripts in the place of compilers, processes."""

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from limen.kernels.c import build, cache
from limen.kernels.c.build import load

GCC = shutil.which("gcc")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc")
needs_root = pytest.mark.skipif(not ROOT, reason="needs root")

WRITES_GARBAGE = 'while [ $# -gt 1 ]; do [ "$1" = -o ] && echo garbage > "$2"; shift; done'

SOURCE = """
__attribute__((visibility("default"))) int answer(int n) { return n + 1; }
"""


def use_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    script = tmp_path / "cc.sh"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("LIMEN_CC", str(script))
    build.forget()


def works(source: str = SOURCE, name: str = "test") -> bool:
    return bool(load(source, name).answer(41) == 42)


def libraries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not cache.ENTRY.fullmatch(path.name)]


def start_child(function: Callable[[], Any]) -> Callable[[], Any]:
    """Fork, run the function, and return how to wait for its result."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: forking a process with threads.
        pid = os.fork()
    if pid == 0:
        try:
            result = function()
        except BaseException as error:
            result = repr(error)
        os.write(writing, pickle.dumps(result))
        os._exit(0)
    os.close(writing)

    def wait() -> Any:
        with open(reading, "rb") as file:
            answer = file.read()
        os.waitpid(pid, 0)
        return pickle.loads(answer)

    return wait


def in_child(function: Callable[[], Any]) -> Any:
    return start_child(function)()


def run_python(code: str, **environment: str) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own, and a process that remembers nothing."""
    monkeypatch.setenv("LIMEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LIMEN_CC", raising=False)
    monkeypatch.delenv("CC", raising=False)
    build.forget()
    yield tmp_path / "cache"
    build.forget()


def counted_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Compile through a script that notes every call; returns how many there were."""
    log = tmp_path / "calls"
    log.touch()
    use_script(tmp_path, monkeypatch, f'echo "$@" >> {log}\nexec {GCC} "$@"')
    return lambda: len(log.read_text().splitlines())
