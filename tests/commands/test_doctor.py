"""``limen doctor``: versions, devices and paths of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_versions_are_said_before_torch_is_imported(tmp_path: Path) -> None:
    """So that they come at once, and where torch is broken they are there all the same."""
    missing = "libcudart.so.12: cannot open shared object file"
    (tmp_path / "torch.py").write_text(f"raise OSError({missing!r})\n")
    source = str(Path(limen.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "limen", "doctor"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), source])},
        capture_output=True,
        text=True,
        check=False,
    )
    section, *lines = done.stdout.splitlines()
    found = dict(line.split(maxsplit=1) for line in lines)
    assert section == "versions"
    assert (found["limen"], found["torch"]) == (limen.__version__, torch.__version__)
    assert (done.returncode, done.stderr) == (2, f"limen: {missing}.\n")
