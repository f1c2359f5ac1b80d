"""How fast are activations where there is no compiler?  python benchmarks/without_compiler.py --python ENV/bin/python

ENV is an environment with a wheel and its lab. `limen bench` is run by it in a root that has Python and the system's
libraries and nothing else (chroot in a mount namespace of its own, so Linux and root only), and outside by kernels that
the system's compiler makes for this very processor. Writes benchmarks/results/without_compiler.json and prints it: for
each activation forward and backward as a ratio to F.silu of the same round, there and here, and that of torch's
operators, which is what would run without kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from limen.writing import write_atomically

RESULTS = Path(__file__).parent / "results" / "without_compiler.json"
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/etc", "/proc", "/sys", "/dev")
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PREFIXES = "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True, help="that of an environment with the wheel")
    parser.add_argument("--elements", default="1000000")
    parser.add_argument("--rounds", default="15")
    parser.add_argument("--activations", default="", help="such as relu,asau; else all")
    parser.add_argument(
        "--cache", type=Path, help="where kernels compiled here are kept; a temporary folder if left out"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    limen = [str(arguments.python.absolute()), "-m", "limen"]
    options = ["--elements", arguments.elements, "--rounds", arguments.rounds, "--activations", arguments.activations]
    bench = [*limen, "bench", "--device", "cpu", "--no-compile", "--json", *options]
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder, "root"), (arguments.cache or Path(folder, "kernels")).absolute()
        bare = in_bare_root(arguments.python, root)
        doctor = asked([*bare, shlex.join([*limen, "doctor", "--json"])], {"HOME": "/tmp", "PATH": USUAL_PATH})
        if not doctor["kernels"]["compiler"].startswith("none"):
            parser.error(f"there is a compiler in that root: {doctor['kernels']['compiler']}")
        there = asked([*bare, shlex.join(bench)], {"HOME": "/tmp", "PATH": USUAL_PATH})
        here = asked(bench, {**os.environ, "LIMEN_SHIPPED": "0", "LIMEN_CACHE": str(cache)})
    rows = side_by_side(there["rows"], here["rows"])
    found = {
        "date": date.today().isoformat(),
        "environment": there["environment"],
        "kernels there": doctor["kernels"],
        "rows": rows,
    }
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")
    print(table(rows))


def in_bare_root(python: Path, root: Path) -> list[str]:
    """What a command, one word for a shell, is put behind to be run in a root with Python and system libraries only."""
    prefixes = subprocess.run([python, "-c", PREFIXES], capture_output=True, text=True, check=True).stdout.split()
    mounts = []
    for place in (*SYSTEM, *prefixes):
        if Path(place).is_dir():
            inside = Path(f"{root}{place}")
            inside.mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --rbind {shlex.quote(place)} {shlex.quote(str(inside))}")
    (root / "tmp").mkdir(exist_ok=True)
    enter = f'{" && ".join(mounts)} && eval exec chroot {shlex.quote(str(root))} "$0"'
    return ["unshare", "--mount", "sh", "-c", enter]


def asked(command: Sequence[str], environment: dict[str, str]) -> Any:
    """The JSON that a command printed."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def side_by_side(there: list[dict[str, Any]], here: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each activation the ratios to F.silu without a compiler, with one, and by torch's operators."""
    found: dict[str, dict[str, float]] = {}
    for column, path, rows in (
        ("without", "limen", there),
        ("with", "limen", here),
        ("torch's operators", "eager", there),
    ):
        for row in rows:
            if row["path"] == path:
                found.setdefault(row["activation"], {})[column] = round(row["both_ratio"], 3)
    return found


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown of it, the last line what lies in the middle and the largest."""
    columns = ("without", "with", "torch's operators")
    lines = [
        f"| forward and backward ÷ F.silu | {' | '.join(columns)} | without ÷ with |",
        f"|{' --- |' * (len(columns) + 2)}",
    ]
    quotients = {name: row["without"] / row["with"] for name, row in rows.items()}
    for name, row in rows.items():
        numbers = [*(row[column] for column in columns if column in row), quotients[name]]
        lines.append(f"| {name} | {' | '.join(f'{number:.2f}' for number in numbers)} |")
    ordered = sorted(quotients.values())
    lines.append(f"\nwithout ÷ with: {ordered[len(ordered) // 2]:.2f} in the middle, {ordered[-1]:.2f} at most")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
