"""Studies of many runs: what a run costs beside its training, how long resuming and the report take.

The runs are stand-ins: records as a small network on digits leaves them (12 epochs, four layers described in 64 bins),
made without training. Each step of each size is a process of its own, so that its peak memory is its own. With
``--before PATH`` the same is done with the limen in another checkout, as far as that takes less than minutes: it trains
the last runs only, of a study whose other runs lie there already.

Every size is done in the driver itself, and as runs of two processes and on Ray, where that is installed: there what
counts is what the driver does a run, and how long a run takes on the wall, in which nothing is computed.

Times are the processor's, which others at work on the machine change little. Beside it stands the time on the wall of a
run, in which the disk says that a record lies on it.

    python benchmarks/scale.py --before ../main --out benchmarks/results/scale.json --page docs/results/scale.md
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

ACTIVATIONS = ("relu", "asau", "ash", "apalu", "adact")
SIZES = (200, 1_000, 10_000)
ENGINES = {"now": {"jobs": 1}, "--jobs 2": {"jobs": 2}, "--on ray": {"on": "ray"}}
"""Where runs are computed: in the driver itself, in processes, as Ray's tasks."""
LAST = 3
"""Runs that the other checkout trains, at the end of a study."""
MOST_BEFORE = 1_000
"""Runs of the largest study that the other checkout goes on with."""
REPORTED_BEFORE = 200
"""Runs of the largest study of which the other checkout makes a report; of 4,000 it took three minutes."""
EPOCHS, BINS = 12, 64
LAYERS = ("features.0.act", "features.1.act", "features.2.act", "head.act")
CANDIDATES = ("relu", "elu", "leaky_relu", "prelu", "rrelu", "silu", "mish")
clock = time.process_time


def stand_in(activation: str, seed: int) -> Any:
    """A record as a run leaves it, from arithmetic alone."""
    from limen.lab.records import EpochRow, LayerShape, RunRecord

    luck = math.sin(12.9898 * seed + 78.233 * len(activation))
    score = 0.955 + 0.004 * ACTIVATIONS.index(activation) + 0.004 * luck
    x = tuple(-4 + 8 * place / (BINS - 1) for place in range(BINS))
    slope = 1 + 0.2 * luck
    mixture = {name: (1 + 0.1 * luck * place) / len(CANDIDATES) for place, name in enumerate(CANDIDATES)}
    return RunRecord(
        activation=activation,
        seed=seed,
        status="finished",
        epochs=EPOCHS,
        best_epoch=EPOCHS,
        metrics={"val_accuracy": score, "test_accuracy": score - 0.002, "test_loss": 0.15 - 0.01 * luck,
                 "test_f1": score - 0.003, "test_mcc": score - 0.004},
        seconds=1.0,
        ms_per_step=3.4,
        peak_memory_mb=41.0,
        parameters=61_706,
        activation_parameters=8,
        curves=tuple(
            EpochRow(epoch=epoch, train_loss=2.2 * math.exp(-epoch / 3) + 0.02, train_score=score,
                     heldout_loss=2.1 * math.exp(-epoch / 3) + 0.1 + 0.01 * luck,
                     heldout_score=score - 0.6 * math.exp(-epoch / 2), test_score=None)
            for epoch in range(1, EPOCHS + 1)
        ),
        layers=tuple(
            LayerShape(
                path=path,
                activation=f"{activation.upper()}()",
                x=x,
                y=tuple(value / (1 + math.exp(-slope * value)) for value in x),
                density=tuple(math.exp(-value * value / 2) / 20 for value in x),
                parameters={} if activation in ("relu", "adact") else {"alpha": (slope,), "beta": (slope**2,)},
                weights=mixture if activation == "adact" else {},
            )
            for path in LAYERS
        ),
    )  # fmt: skip


def opened(home: Path, runs: int) -> tuple[Any, Any]:
    """The study of so many runs in a folder, new or going on."""
    from limen.lab.records import DataFacts
    from limen.lab.settings import StudySettings
    from limen.lab.study.store import StudyFolder

    settings = StudySettings(
        data="digits",
        activations=ACTIVATIONS,
        baseline="relu",
        seeds=tuple(range(runs // len(ACTIVATIONS))),
        epochs=EPOCHS,
    )
    facts = DataFacts(
        name="digits", classes=tuple("0123456789"), image_shape=(1, 8, 8), train=1257, validation=140, test=360,
        fingerprint="3f" * 32,
    )  # fmt: skip
    folder = StudyFolder(home)
    home.mkdir(exist_ok=True)
    written = {name: f"{name}(x)" for name in ACTIVATIONS}
    return folder, folder.open(settings, facts, {"limen": "here"}, "limen compare", formulas=written)


class Silent:
    """Hears everything, says nothing, and notes when the first run began."""

    def __init__(self) -> None:
        self.first = self.first_wall = 0.0

    def run_started(self, *told: Any) -> None:
        """A run begins."""
        if not self.first:
            self.first, self.first_wall = clock(), time.perf_counter()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *told, **more: None


def fill(home: Path, runs: int, engine: str) -> dict[str, float]:
    """Lay all records but the last ones into a folder, as runs would have left them."""
    folder, study = opened(home, runs)
    pairs = [(name, seed) for seed in study.settings.seeds for name in ACTIVATIONS]
    for activation, seed in pairs[:-LAST]:
        folder.write_run(stand_in(activation, seed).model_copy(update={"origin": study.origin}))
    return {}


class StandIns:
    """Makes records in the place of runs, and notes what that takes; called as runs were before engines, too."""

    def __init__(self) -> None:
        self.made: list[float] = []

    def __call__(self, activation: str, seed: int, listener: Any) -> Any:
        """A record."""
        began = clock()
        record = stand_in(activation, seed)
        self.made.append(clock() - began)
        return record

    def run(self, job: Any, listener: Any) -> Any:
        """What a job comes to."""
        return self(job.activation, job.seed, listener)


def train(home: Path, runs: int, engine: str) -> dict[str, float]:
    """Every run that is missing; what it takes beside making the stand-ins."""
    from limen.lab.study.running import train_missing
    from limen.lab.tasks import registry
    from limen.lab.training.experiment import Experiment

    stand_ins, silent = StandIns(), Silent()
    given: list[Any] = [stand_ins]
    if "execution" in signature(train_missing).parameters:
        from limen.lab.executing.execution import Execution

        given.append(Execution(**ENGINES[engine]))  # type: ignore[arg-type]
    began = clock()
    folder, study = opened(home, runs)
    done = sum(1 for _ in (home / "runs").glob("*.json"))
    experiment = Experiment(registry.find("classification"), None, study.settings)
    train_missing(experiment, study, folder, silent, [], *given)
    ended, waited = clock(), time.perf_counter()
    made, count = sum(stand_ins.made), runs - done
    return {
        "runs": count,
        "seconds_before_the_first": silent.first - began,
        "overhead_s_a_run": (ended - silent.first - made) / count,
        "wall_s_a_run": (waited - silent.first_wall - made) / count,
    }


def report(home: Path, runs: int, engine: str) -> dict[str, float]:
    """Tables and report from what is stored."""
    from limen.lab.study import result

    began = clock()
    result.report(home)
    return {
        "report_s": clock() - began,
        "report_mb": (home / "report.html").stat().st_size / 1e6,
        "runs_csv_mb": (home / "runs.csv").stat().st_size / 1e6,
        "records_mb": sum(path.stat().st_size for path in (home / "runs").iterdir()) / 1e6,
    }


STEPS = {"fill": fill, "train": train, "report": report}


def measured(source: Path, step: str, home: Path, runs: int, engine: str = "now") -> dict[str, float]:
    """A step in a process of its own, with its time and its peak memory."""
    # Other processes import the stand-ins by this file's name.
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--step", step, "--home", str(home), "--runs", str(runs), f"--engine={engine}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{source} {runs} {engine} {step}: {found}", file=sys.stderr, flush=True)
    return found


def rows(here: Path, before: Path | None, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Every size, with this limen and with the one before."""
    for runs in sizes:
        for version, source in (("now", here), ("before", before)):
            if source is None or (version == "before" and runs > MOST_BEFORE):
                continue
            with tempfile.TemporaryDirectory() as home:
                study = Path(home) / "study"
                if version == "before":
                    measured(source, "fill", study, runs)
                row = {"version": version, "study": runs, **measured(source, "train", study, runs)}
                row["train_peak_mb"] = row.pop("peak_mb")
                if version == "now":
                    (study / "runs" / f"{ACTIVATIONS[-1]}-seed0.json").unlink()
                    resumed = measured(source, "train", study, runs)
                    row |= {"resume_s": resumed["seconds_before_the_first"], "resume_peak_mb": resumed["peak_mb"]}
                if version == "now" or runs <= REPORTED_BEFORE:
                    told = measured(source, "report", study, runs)
                    row |= {key: told[key] for key in ("report_s", "report_mb", "runs_csv_mb", "records_mb")}
                    row["report_peak_mb"] = told["peak_mb"]
                row.pop("step_s")
                yield row
        yield from elsewhere(here, runs)


def elsewhere(here: Path, runs: int) -> Iterator[dict[str, Any]]:
    """The same runs in other processes, and on Ray where it is installed."""
    for engine in list(ENGINES)[1:]:
        if "ray" in engine and find_spec("ray") is None:
            continue
        with tempfile.TemporaryDirectory() as home:
            found = measured(here, "train", Path(home) / "study", runs, engine)
        yield {
            "version": engine,
            "study": runs,
            "train_peak_mb": found["peak_mb"],
            **{key: found[key] for key in ("overhead_s_a_run", "wall_s_a_run")},
        }


def page(found: dict[str, Any]) -> str:
    """The rows in words and a table."""
    lines = [
        "| runs | version | overhead a run, s | on the wall, s | before a run begins, all but one done, s | "
        "report, s | report, MB | `runs.csv`, MB | records, MB | peak MB: runs, resume, report |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found["rows"]:
        cells = (
            f"{row['study']:,}", row["version"], _said(row, "overhead_s_a_run", 4), _said(row, "wall_s_a_run", 3),
            _said(row, "resume_s", 1),
            _said(row, "report_s", 1), _said(row, "report_mb", 2), _said(row, "runs_csv_mb", 2),
            _said(row, "records_mb", 0),
            ", ".join(_said(row, key, 0) for key in ("train_peak_mb", "resume_peak_mb", "report_peak_mb")),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    largest = next(row for row in reversed(found["rows"]) if row["version"] == "now")
    smallest = next(row for row in found["rows"] if row["version"] == "now")
    more = largest["study"] - smallest["study"]
    return TEXT.format(
        machine=found["machine"],
        table="\n".join(lines),
        runs=f"{largest['study']:,}",
        resume=_said(largest, "resume_s", 1),
        each=f"{1e3 * largest['resume_s'] / largest['study']:.1f}",
        memory=f"{1e3 * (largest['resume_peak_mb'] - smallest['resume_peak_mb']) / max(1, more):.0f}",
        ten_times=f"{10 * largest['resume_s']:.0f}",
    )


TEXT = """# Studies of many runs

Made by [benchmarks/scale.py](../../benchmarks/scale.py) ([rows](../../benchmarks/results/scale.json)) on
{machine}. The runs are stand-ins, records made without training of a network with four layers, 12 epochs and
five activations, so what is timed is all that a run costs beside its training. Times are the processor's, but
for the second column: others were at work on the machine, and what the wall says
there is mostly the disk's answer that a record lies on it. Peak memory holds torch, some 0.3 GB. The version
before is the one whose tables were made anew from all runs after every run; it was measured at the last runs
of a study that lay there already, and where it would have taken minutes not at all; of its three runs the
first imports SciPy, some 2 s. With `--jobs 2` and on a Ray of two processors, started for the study, the overhead
is the driver's alone, from the first run's beginning; a run that computes nothing comes back after the time on the
wall.

{table}

What was done:

- Tables are written again when that takes at most a twentieth of the time since: after every run of a small
  study, every few seconds of a large one, and at the end in any case, after Ctrl-C too. A run's own file is the
  truth; a driver that is killed loses nothing.
- A record is read and checked whole once by a driver that resumes, and once for the report. Of {runs} with one
  to do that took {resume} s, {each} ms each; {memory} kB of each stay in memory.
- From 101 runs on the report groups: bands over seeds in the place of lines, the middle half of the seeds in
  the place of dots, the curves of up to 50 seeds an activation, two layers of each, and of more than 12
  activations the baseline with the best. It says what it leaves out. Tables, `runs.csv` and the page have every
  run; the page shows 500 rows of them at once, which sort and filter in about a second in Chromium (all 10,000
  took it a minute to lay out).

The next limit is reading: each record is a JSON file, checked whole. 100,000 runs would take some {ten_times} s
to resume and a folder of 2 GB. More than 10,000 seeds of one activation are refused.
"""


def _said(row: dict[str, Any], key: str, digits: int) -> str:
    return f"{row[key]:,.{digits}f}" if key in row else "–"


def main() -> None:
    """Measure, or do one step of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--engine", choices=ENGINES, default="now")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="Empty: the page is made of --out alone.")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    if given.step:
        began = clock()
        found = import_module("scale").STEPS[given.step](given.home, given.runs, given.engine)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(json.dumps({**found, "step_s": clock() - began, "peak_mb": peak}))
        return
    here = Path(__file__).parent.parent / "src"
    before = given.before / "src" if given.before else None
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    held: dict[str, Any] = {"machine": machine, "rows": []}
    if not given.sizes:
        held = json.loads(given.out.read_text(encoding="utf-8"))
    for row in rows(here, before, tuple(map(int, filter(None, given.sizes.split(","))))):
        held["rows"].append(row)
        if given.out:  # after each: the largest take long
            given.out.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    if given.page:
        given.page.write_text(page(held), encoding="utf-8")


if __name__ == "__main__":
    main()
