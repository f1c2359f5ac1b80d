"""A study that is killed or interrupted loses nothing and runs nothing twice. Real processes, real signals."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from helpers_lab import ENVIRONMENT, TINY_OPTIONS, Recorder, stored, tiny

from limen.lab.study import result
from limen.lab.study.compare import compare

pytestmark = pytest.mark.slow

ACTIVATIONS = ("relu", "asau", "adact")
TIMES = {"seconds", "ms_per_step", "ms_ratio"}


def started(out: Path, *options: str) -> subprocess.Popen[str]:
    """A study in a process of its own."""
    names = ("--activations", ",".join(ACTIVATIONS))
    return subprocess.Popen(
        [sys.executable, "-m", "limen.cli", "compare", *TINY_OPTIONS, *names, *options, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        # Whoever runs the tests in the background may have told them to ignore interrupts, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def runs_of(out: Path) -> dict[str, tuple[bytes, int]]:
    """The run files, which have their names only when they are whole."""
    found = stored(out) if out.exists() else {}
    return {name: kept for name, kept in found.items() if name.startswith("runs/") and name.endswith(".json")}


def wait_for_runs(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list((out / "runs").glob("[!.]*.json"))) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def table(path: Path) -> list[dict[str, str]]:
    """A table without its times."""
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def test_a_killed_study_continues_where_it_was(tmp_path: Path) -> None:
    out, options = tmp_path / "killed", ("--seeds", "3", "--epochs", "12")
    kept: dict[str, tuple[bytes, int]] = {}
    for stop_at in (1, 4):
        process = started(out, *options)
        wait_for_runs(out, stop_at, process)
        time.sleep(0.05 * (stop_at - 1))  # once while tables are written, once in training
        process.kill()
        process.communicate()
        found = runs_of(out)
        assert stop_at <= len(found) < 9
        assert {name: found[name] for name in kept} == kept
        kept = found

    process = started(out, *options)
    shown, progress = process.communicate(timeout=120)
    assert process.returncode == 0, progress
    assert f"continuing: {len(kept)} of 9 runs are done already" in progress
    found = runs_of(out)
    assert {name: found[name] for name in kept} == kept  # content and times
    wanted = [(name, str(seed)) for name in ACTIVATIONS for seed in range(3)]
    assert len(found) == len(wanted)
    assert [(row["activation"], row["seed"]) for row in table(out / "runs.csv")] == wanted
    assert "Report:" in shown

    straight = tmp_path / "straight"
    compare(tiny(activations=ACTIVATIONS, seeds=(0, 1, 2), epochs=12), straight, Recorder())
    assert table(out / "runs.csv") == table(straight / "runs.csv")
    assert table(out / "summary.csv") == table(straight / "summary.csv")


def test_an_interrupted_study_says_so_and_keeps_its_runs(tmp_path: Path) -> None:
    process = started(tmp_path, "--seeds", "5", "--epochs", "60")
    wait_for_runs(tmp_path, 1, process)
    time.sleep(0.2)  # into the next run's training
    process.send_signal(signal.SIGINT)
    try:
        _, shown = process.communicate(timeout=5)
    except subprocess.TimeoutExpired:  # Python drops an interrupt that comes inside a finaliser: press again
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in shown
    assert shown.count("limen:") == 1
    assert shown.splitlines()[-1] == ("limen: interrupted; finished runs are kept, and the same command continues.")
    found = runs_of(tmp_path)
    assert 1 <= len(found) < 15
    assert not [name for name in stored(tmp_path) if "/." in name], "a temporary file was left behind"
    partial = result.report(tmp_path)
    assert len(partial.runs) == len(found)
    assert runs_of(tmp_path) == found
