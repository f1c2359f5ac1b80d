"""``limen doctor``: versions, devices and paths of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_lab import Command

import limen


def test_doctor(run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The shared folder of kernels grows between the two calls, whenever another test compiles one.
    monkeypatch.setenv("LIMEN_CACHE", str(tmp_path))
    outcome = run("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    found = run("doctor", "--json").json
    assert {"versions", "devices", "path"} <= found.keys()
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["limen"] == limen.__version__
    assert "threads" in found["devices"]["cpu"]
    assert ("cuda:0" in found["devices"]) == torch.cuda.is_available()
    assert found["path"]["cpu"]
    for section, entries in found.items():
        assert section in outcome.out
        assert all(f"{name} " in outcome.out and value in outcome.out for name, value in entries.items())
