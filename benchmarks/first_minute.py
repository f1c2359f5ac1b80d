"""How long until limen answers?  python benchmarks/first_minute.py --before OTHER/src

Writes benchmarks/results/first_minute.json and prints it: the processor time of commands and of first calls, each
a process of its own, the least of some rounds, since whatever else runs on a machine only ever adds time. With another
checkout's sources both are asked in turns. Python's own files are compiled before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="another checkout's src")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sources = {"before": arguments.before, "now": SOURCE} if arguments.before else {"now": SOURCE}
    rows = {}
    for name, words in CASES.items():
        least = dict.fromkeys(sources, float("inf"))
        for _ in range(arguments.rounds):
            for which, source in sources.items():
                least[which] = min(least[which], processor_time(words, source))
        rows[name] = {which: round(seconds, 3) for which, seconds in least.items()}
        print(name, rows[name], flush=True)
    found = {"date": date.today().isoformat(), "python": platform.python_version(), "seconds": rows}
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


def processor_time(arguments: list[str], source: Path) -> float:
    """Seconds of processor time that a Python with these arguments takes."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


if __name__ == "__main__":
    main()
