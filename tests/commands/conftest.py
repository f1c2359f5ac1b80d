"""Every command runs in this process, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_lab import Command, command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``limen ARGUMENTS`` in this process."""
    return command(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that goes wrong may write to the repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
