"""Does limen work with that Python and that torch?  python benchmarks/matrix.py --wheel dist/limen-….whl

For every pair an environment is made in a temporary folder, the wheel installed with its lab, and asked: import, all
built-in activations forward and backward, by kernels against the plain formula, a swap in a small transformer, and one
study of one epoch. What comes of it, with the date, is added to docs/results/matrix.json, whose table is
docs/results/matrix.md.
torch is what the index of pip has for that version: a build for GPUs takes gigabytes (--index-url for another).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from limen.writing import write_atomically

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
TORCHES = ("2.7.1", "2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1", "2.15.0")
RESULTS = Path(__file__).parents[1] / "docs" / "results"
STEPS = {
    "kernels": """
from limen.activations.registry import create, names
from limen.kernels.c import build
from limen.warming import calls_of
for activation, like in (call for name in names() for call in calls_of(create(name))):
    activation.eval()
    x = torch.randn_like(like).requires_grad_()
    found = [activation(x), *torch.autograd.grad(activation(x).sum(), x)]
    with limen.use_backend("plain"):
        right = [activation(x), *torch.autograd.grad(activation(x).sum(), x)]
    torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-4)
assert build.journal()
""",
    "transformer": """
model = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
limen.swap_(model, "asau")
model(torch.randn(2, 3, 16)).sum().backward()
""",
}
STUDY = "limen compare --data digits --network mlp --seeds 1 --epochs 1 --activations relu,asau --out study"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, default=next(iter(sorted(Path("dist").glob("*.whl"))), None))
    parser.add_argument("--pythons", default=",".join(PYTHONS))
    parser.add_argument("--torches", default=",".join(TORCHES))
    parser.add_argument("--numpy", default="numpy", help="such as 'numpy<2'")
    parser.add_argument("--index-url", help="for torch")
    arguments = parser.parse_args()
    if arguments.wheel is None:
        parser.error("there is no wheel in dist/; make wheel builds one")
    path = RESULTS / "matrix.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for python in arguments.pythons.split(","):
        for torch in arguments.torches.split(","):
            own = {"date": date.today().isoformat(), "python": python, "torch": torch, "numpy": arguments.numpy}
            rows[f"{python} {torch} {arguments.numpy}"] = own | tried(arguments, python, torch)
            write_atomically(path, json.dumps(rows, indent=1) + "\n")
            write_atomically(RESULTS / "matrix.md", page(list(rows.values())))


def tried(arguments: argparse.Namespace, python: str, torch: str) -> dict[str, str]:
    """What came of one pair: for each step "yes", or the last line of what it said."""
    program = shutil.which(f"python{python}")
    if program is None:
        return {"install": f"python{python} is not here"}
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder, "bin", "python")
        index = ["--index-url", arguments.index_url] if arguments.index_url else []
        pip = [str(own), "-m", "pip", "install", "--quiet", "--no-compile"]
        install = [
            [program, "-m", "venv", folder],
            [*pip, *index, f"torch=={torch}"],
            [*pip, f"{arguments.wheel.resolve()}[lab]", arguments.numpy],
        ]
        found = {"install": next((said for said in (ran(one, folder) for one in install) if said != "yes"), "yes")}
        if found["install"] == "yes":
            for name, code in STEPS.items():
                found[name] = ran([str(own), "-c", f"import torch, limen\n{code}"], folder)
            found["study"] = ran([f"{folder}/bin/{STUDY.split()[0]}", *STUDY.split()[1:]], folder)
        return found


def ran(command: list[str], folder: str) -> str:
    """Whether a command succeeded: "yes", or the last line that it said."""
    environment = {**os.environ, "LIMEN_CACHE": f"{folder}/kernels"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return "yes" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1]


def page(rows: list[dict[str, str]]) -> str:
    """The table of all that was tried."""
    columns = ("python", "torch", "numpy", "date", "install", *STEPS, "study")
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(row.get(name, '') for name in columns)} |" for row in rows]
    return "# Pythons and torches\n\nMade by `benchmarks/matrix.py` (`make matrix`).\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
