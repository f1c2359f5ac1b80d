"""A cache and a compiler of the test's own."""

import pytest
from helpers_building import GCC, use_script

from limen.kernels import build


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, and a process that remembers nothing."""
    monkeypatch.setenv("LIMEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LIMEN_CC", raising=False)
    monkeypatch.delenv("CC", raising=False)
    build.forget()
    yield tmp_path / "cache"
    build.forget()


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Compile through a script that notes every call; returns how many there were."""
    log = tmp_path / "calls"
    log.touch()
    use_script(tmp_path, monkeypatch, f'echo "$@" >> {log}\nexec {GCC} "$@"')
    return lambda: len(log.read_text().splitlines())
