"""How long whole studies take, one run after the other and several at a time, beside an earlier build of limen.

    python benchmarks/many_runs.py --before ../earlier --rounds 3

runs each command in a fresh process and folder, the builds in turn, and writes benchmarks/results/many_runs.csv, a row
a command: wall time, processor time of it and all processes it made, and the most memory that they held at once, where
what several share counts once (proportional set size). Rows of studies that are left out stay. Each build has run once
before, so that it is compiled as an installed one is, whatever the environment says of bytecode. ``--before`` is a
checkout of the earlier build, such as ``git worktree add ../earlier COMMIT`` makes; it has no ``--jobs``.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parents[1]
OUT = HERE / "benchmarks" / "results" / "many_runs.csv"
SMALLEST = "--data digits --network mlp --seeds 1 --epochs 1 --activations relu,asau"
STUDIES = {
    "demo": "--data digits --network convnet --seeds 3 --epochs 8 "
    "--activations relu,gelu,swish,mish,ash,asau,apalu,adact",
    "small": "--data digits --network mlp --seeds 10 --epochs 4 --activations relu,gelu,swish,mish,asau,apalu",
}
"""What ``make demo`` runs, and 60 small runs."""
EVERY = 0.25
"""Seconds between two looks at the memory; one takes some milliseconds of processor time."""


def processes_of(leader: int) -> Iterator[int]:
    """A process and all that descend from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {leader}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    yield from found


def held(leader: int) -> int:
    """Bytes that they hold, those that several share once."""
    total = 0
    for pid in processes_of(leader):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def run(source: Path, options: list[str], bytecode: str) -> dict[str, float]:
    """One command: its times and its memory; the folder is that of all that Python has compiled."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "limen.cli", "compare", *options, "--out", f"{folder}/out"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(source / "src"), "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        most = 0
        while process.poll() is None:
            most = max(most, held(process.pid))
            time.sleep(EVERY)
        seconds = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": used, "peak_memory_mb": most / 1e6}


def commands(before: Path | None, jobs: list[int]) -> dict[str, tuple[Path, list[str]]]:
    """The builds to be compared: where each lies, and its further options."""
    found = {f"jobs {count}": (HERE, ["--jobs", str(count)]) for count in jobs}
    return ({"before": (before, [])} if before else {}) | found


def stored(path: Path) -> list[dict[str, str]]:
    """The rows that are there already."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def measured(
    builds: dict[str, tuple[Path, list[str]]], studies: list[str], rounds: int, bytecode: str
) -> list[dict[str, object]]:
    """The rows of all rounds, printed as they come."""
    for source in {source for source, _ in builds.values()}:
        run(source, SMALLEST.split(), bytecode)
    rows: list[dict[str, object]] = []
    for turn in range(rounds):
        for study in studies:
            for name, (source, options) in builds.items():
                found = run(source, [*STUDIES[study].split(), *options], bytecode)
                rows.append({"study": study, "build": name, "round": turn, "cores": os.cpu_count(), **found})
                print(*(f"{value:.1f}" if isinstance(value, float) else value for value in rows[-1].values()))
                sys.stdout.flush()
    return rows


def main() -> None:
    """Run all, print the medians, keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--studies", nargs="+", choices=[*STUDIES], default=[*STUDIES])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    builds = commands(given.before, given.jobs)
    with tempfile.TemporaryDirectory() as bytecode:
        rows = measured(builds, given.studies, given.rounds, bytecode)
    kept = [row for row in stored(given.out) if row["study"] not in given.studies]
    with given.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "machine"], lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *({**row, "machine": platform.machine()} for row in rows)])
    for study in given.studies:
        for name in builds:
            times = [float(str(row["seconds"])) for row in rows if (row["study"], row["build"]) == (study, name)]
            print(f"{study:6} {name:8} {statistics.median(times):7.1f} s")


if __name__ == "__main__":
    main()
