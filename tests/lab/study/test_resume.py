"""A study that is killed or interrupted loses nothing and runs nothing twice. Real processes, real signals."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest
from helpers_lab import TINY_OPTIONS, Forked, Recorder, forked_command, stored, tiny

from limen.lab.study import result
from limen.lab.study.compare import compare

pytestmark = pytest.mark.slow

ACTIVATIONS = ("relu", "asau", "adact")
TIMES = {
    *("seconds", "ms_per_step", "ms_ratio", "ms_ratio_low", "ms_ratio_high"),
    *("step_ratio", "time_ratio", "time_ratio_low", "time_ratio_high"),
}


def started(out: Path, *options: str) -> Forked:
    """A study in a process of its own."""
    names = ("--activations", ",".join(ACTIVATIONS))
    folder = out.with_name(f"{out.name}-said")
    return forked_command(folder, "compare", *TINY_OPTIONS, *names, *options, "--out", out)


def runs_of(out: Path) -> dict[str, tuple[bytes, int]]:
    """The run files, which have their names only when they are whole."""
    found = stored(out) if out.exists() else {}
    return {name: kept for name, kept in found.items() if name.startswith("runs/") and name.endswith(".json")}


def wait_for_runs(out: Path, count: int, process: Forked) -> None:
    deadline = time.monotonic() + 60
    while len(list((out / "runs").glob("[!.]*.json"))) < count:
        assert time.monotonic() < deadline
        assert process.running(), process.said()
        time.sleep(0.002)


def table(path: Path) -> list[dict[str, str]]:
    """A table without its times."""
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def test_a_killed_study_continues_where_it_was(tmp_path: Path) -> None:
    out, options = tmp_path / "killed", ("--seeds", "2", "--epochs", "6")
    kept: dict[str, tuple[bytes, int]] = {}
    for stop_at in (1, 3):
        process = started(out, *options)
        wait_for_runs(out, stop_at, process)
        time.sleep(0.05 * (stop_at - 1))  # once while tables are written, once in training
        process.kill()
        found = runs_of(out)
        assert stop_at <= len(found) < 6
        assert {name: found[name] for name in kept} == kept
        kept = found

    outcome = started(out, *options).wait()
    assert outcome.code == 0, outcome.err
    assert f"continuing: {len(kept)} of 6 runs are done already" in outcome.err
    found = runs_of(out)
    assert {name: found[name] for name in kept} == kept  # content and times
    wanted = [(name, str(seed)) for name in ACTIVATIONS for seed in range(2)]
    assert len(found) == len(wanted)
    assert [(row["activation"], row["seed"]) for row in table(out / "runs.csv")] == wanted
    assert "Report:" in outcome.out

    straight = tmp_path / "straight"
    compare(tiny(activations=ACTIVATIONS, seeds=(0, 1), epochs=6), straight, Recorder())
    assert table(out / "runs.csv") == table(straight / "runs.csv")
    assert table(out / "summary.csv") == table(straight / "summary.csv")


def test_an_interrupted_study_says_so_and_keeps_its_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started(out, "--seeds", "5", "--epochs", "60")
    wait_for_runs(out, 1, process)
    time.sleep(0.2)  # into the next run's training
    process.interrupt()
    pressed = time.monotonic()
    while process.running() and time.monotonic() < pressed + 5:
        time.sleep(0.01)
    if process.running():  # Python drops an interrupt that comes inside a finaliser: press again
        process.interrupt()
    outcome = process.wait(30)
    shown = outcome.err
    assert outcome.code == 130
    assert "Traceback" not in shown
    assert shown.count("limen:") == 1
    assert shown.splitlines()[-1] == ("limen: interrupted; finished runs are kept, and the same command continues.")
    found = runs_of(out)
    assert 1 <= len(found) < 15
    assert not [name for name in stored(out) if "/." in name], "a temporary file was left behind"
    partial = result.report(out)
    assert len(partial.runs) == len(found)
    assert runs_of(out) == found
