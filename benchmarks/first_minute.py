"""How long until limen answers?  python benchmarks/first_minute.py --before OTHER/src

Writes benchmarks/results/first_minute.json and prints it: the processor time of commands and of first calls, each
a process of its own, the least of some rounds, since whatever else runs on a machine only ever adds time. With another
checkout's sources both are asked in turns. Python's own files are compiled before. With --wheel also what its
installation takes (beside a torch that is there), and a first call by the kernels in it: nothing on the PATH, no cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from limen.writing import write_atomically

SOURCE = Path(__file__).parents[1] / "src"
RESULTS = Path(__file__).parent / "results" / "first_minute.json"
CALL = "import torch, limen; limen.create('asau')(torch.randn(8, 16)); limen.create('ash')(torch.randn(8, 16))"
CASES = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import limen": ["-c", "import limen"],
    "import torch, limen; two activations called": ["-c", CALL],
    "limen --help": ["-m", "limen.cli", "--help"],
    "limen compare --help": ["-m", "limen.cli", "compare", "--help"],
    "limen list": ["-m", "limen.cli", "list"],
    "limen doctor": ["-m", "limen.cli", "doctor"],
}
FIRST_LINE = "limen doctor, until its first line"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="another checkout's src")
    parser.add_argument("--wheel", type=Path, help="the file that make wheel wrote in dist/")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sources = {"before": arguments.before, "now": SOURCE} if arguments.before else {"now": SOURCE}
    rows = {}
    for name, words in (CASES | {FIRST_LINE: CASES["limen doctor"]}).items():
        take = until_first_line if name == FIRST_LINE else processor_time
        least = dict.fromkeys(sources, float("inf"))
        for _ in range(arguments.rounds):
            for which, source in sources.items():
                least[which] = min(least[which], take(words, source))
        rows[name] = {which: round(seconds, 3) for which, seconds in least.items()}
        print(name, rows[name], flush=True)
    if arguments.wheel:
        rows |= of_wheel(arguments.wheel)
    found = {"date": date.today().isoformat(), "python": platform.python_version(), "seconds": rows}
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


def of_wheel(wheel: Path) -> dict[str, dict[str, float]]:
    """From a wheel to its first results, once installed and then twice."""
    with tempfile.TemporaryDirectory() as folder:
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, str(wheel)]
        bare = {"PATH": "", "CC": "", "LIMEN_CC": "", "LIMEN_CACHE": f"{folder}/cache"}
        steps = {"pip install of the wheel": install, "first call": ["-c", CALL], "second": ["-c", CALL]}
        rows = {name: {"now": round(processor_time(words, Path(folder), bare), 3)} for name, words in steps.items()}
    print(rows, flush=True)
    return rows


def processor_time(arguments: list[str], source: Path, others: dict[str, str] | None = None) -> float:
    """Seconds of processor time that a Python with these arguments takes."""
    began = of_children()
    command = [sys.executable, *arguments]
    subprocess.run(command, env=surroundings(source) | (others or {}), stdout=subprocess.DEVNULL, check=True)
    return of_children() - began


def until_first_line(arguments: list[str], source: Path) -> float:
    """Seconds of processor time until it says anything; it is ended then."""
    began = of_children()
    with subprocess.Popen([sys.executable, *arguments], env=surroundings(source), stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.readline():
            raise SystemExit(f"{' '.join(arguments)} said nothing.")
        process.kill()
    return of_children() - began


def surroundings(source: Path) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
