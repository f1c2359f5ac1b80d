"""Does limen work with that Python and that torch?  python benchmarks/matrix.py --wheel dist/limen-….whl

For every cell an environment is made in a temporary folder, the wheel installed with its lab, and asked: import, all
built-in activations forward and backward by the kernels that came with the wheel and nothing on the PATH, some by
kernels compiled there, each against the plain formula, a swap in a small transformer, and one study of one epoch. What
comes of it, with the date, is added to docs/results/matrix.json, whose table is docs/results/matrix.md.
A Python is the python3.N on the PATH. torch is what the index of pip has for that version: a build for GPUs takes
gigabytes (--index-url for another); one environment is there at a time.
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
from typing import Any, NamedTuple

from limen.writing import write_atomically


class Cell(NamedTuple):
    """What is installed together."""

    python: str
    torch: str
    numpy: str


CELLS = (
    *(Cell("3.10", torch, "<2") for torch in ("2.7.1", "2.9.1")),
    *(Cell("3.11", torch, "<2") for torch in ("2.7.1", "2.13.0")),
    *(Cell("3.11", torch, ">=2") for torch in ("2.8.0", "2.10.0", "2.12.1", "2.13.0", "2.14.1")),
    *(Cell("3.12", torch, ">=2") for torch in ("2.7.1", "2.9.1", "2.15.0")),
    *(Cell("3.13", torch, ">=2") for torch in ("2.7.1", "2.11.0", "2.14.1", "2.15.0")),
    *(Cell("3.14", torch, ">=2") for torch in ("2.9.1", "2.15.0")),
)
"""Each torch with some Python, and each Python with the oldest and the newest torch that it can have."""
RESULTS = Path(__file__).parents[1] / "docs" / "results"
TELL = "import numpy, torch, limen; limen.create('asau'); print(torch.__version__, numpy.__version__)"
COMPARE = """
import torch, limen
from limen.kernels.c import build
from limen.warming import calls_of

def results(activation, x):
    y = activation(x)
    wanted = [x, *activation.parameters()]
    # Of the square, so that what comes back differs from element to element.
    return [y, *torch.autograd.grad(y.float().square().sum(), wanted)]

def compare(names, dtype, tolerance):
    for activation, like in (call for name in names for call in calls_of(limen.create(name))):
        activation.eval()
        x = torch.randn_like(like, dtype=dtype).requires_grad_()
        found = results(activation, x)
        with limen.use_backend("plain"):
            right = results(activation, x)
        torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)
"""
STEPS = {
    "shipped": f"""{COMPARE}
compare(limen.names(), torch.float32, 1e-3)
assert len(build.journal()) > 50 and all(one.shipped for one in build.journal()), build.journal()
""",
    "compiled": f"""{COMPARE}
compare(("asau", "ash"), torch.float32, 1e-3)
compare(("asau", "ash"), torch.bfloat16, 5e-2)
assert build.journal() and all(one.compiled for one in build.journal()), build.journal()
""",
    "transformer": """
import torch, limen
model = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
limen.swap_(model, "asau")
model(torch.randn(2, 3, 16)).sum().backward()
assert all(one.grad is not None for one in model.parameters())
model.eval()(torch.randn(2, 3, 16))
""",
}
"""What is run, and in which other environment than this process's."""
SURROUNDINGS = {"shipped": {"PATH": "", "LIMEN_CC": "", "CC": ""}, "compiled": {"LIMEN_SHIPPED": "0"}}
STUDY = "compare --data digits --network mlp --seeds 1 --epochs 1 --activations relu,asau --out study"
COLUMNS = ("python", "torch", "numpy", "date", "install", "import", *STEPS, "study")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, default=next(iter(sorted(Path("dist").glob("*.whl"))), None))
    parser.add_argument(
        "--cells", default=" ".join(map("/".join, CELLS)), help="such as '3.11/2.13.0/<2 3.12/2.9.1/>=2'; else all"
    )
    parser.add_argument("--index-url", help="for torch")
    arguments = parser.parse_args()
    if arguments.wheel is None:
        parser.error("there is no wheel in dist/; make wheel builds one")
    path = RESULTS / "matrix.json"
    for name in arguments.cells.split():
        cell = Cell(*name.split("/"))
        found = cell._asdict() | {"date": date.today().isoformat()} | tried(cell, arguments)
        print(json.dumps(found), flush=True)
        rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        rows[name] = found
        write_atomically(path, json.dumps(dict(sorted(rows.items())), indent=1) + "\n")
        write_atomically(RESULTS / "matrix.md", page([rows[name] for name in sorted(rows, key=_in_order)]))


def tried(cell: Cell, arguments: argparse.Namespace) -> dict[str, str]:
    """What came of one cell: for each step "yes", or the last line of what it said."""
    program = shutil.which(f"python{cell.python}")
    if program is None:
        return {"install": "this Python is not here"}
    with tempfile.TemporaryDirectory() as folder:
        index = ["--index-url", arguments.index_url] if arguments.index_url else []
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
        for command in (
            [program, "-m", "venv", folder],
            [*pip, *index, f"torch=={cell.torch}"],
            [*pip, f"{arguments.wheel.resolve()}[lab]", f"numpy{cell.numpy}"],
        ):
            worked, said = ran(command, folder)
            if not worked:
                return {"install": said}
        return {"install": "yes"} | asked(folder)


def asked(folder: str) -> dict[str, str]:
    """What an environment with all that is needed says of each step."""
    own = f"{folder}/bin/python"
    worked, said = ran([own, "-c", TELL], folder)
    if not worked:
        return {"import": said}
    found = dict(zip(("torch", "numpy"), said.split(), strict=True)) | {"import": "yes"}
    for name, code in STEPS.items():
        found[name] = answer(ran([own, "-c", code], folder, SURROUNDINGS.get(name)))
    return found | {"study": answer(ran([f"{folder}/bin/limen", *STUDY.split()], folder))}


def answer(outcome: tuple[bool, str]) -> str:
    """What the table says of a step."""
    worked, said = outcome
    return "yes" if worked else said


def ran(command: list[str], folder: str, others: dict[str, str] | None = None) -> tuple[bool, str]:
    """Whether a command succeeded, and the last line that it said."""
    environment = {**os.environ, "LIMEN_CACHE": f"{folder}/kernels", **(others or {})}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, said[-1] if said else "it said nothing"


def page(rows: list[dict[str, str]]) -> str:
    """The table of all that was tried."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(row.get(name, '').replace('|', ' ') for name in COLUMNS)} |" for row in rows]
    return "# Pythons and torches\n\n" + ABOUT + "\n\n" + "\n".join(lines) + "\n"


ABOUT = """`benchmarks/matrix.py` (`make matrix`) makes this page: an environment for each row, with the wheel and its
lab. *shipped*: all built-in activations, forward and backward in every layout, by the kernels in the wheel with
nothing on the `PATH`, against the plain formula, gradients of parameters as well. *compiled*: ASAU and ASH by kernels
compiled there, in float32 and bfloat16. *transformer*: a swap in two layers, trained and evaluated. *study*: `limen
compare`, two activations for an epoch. torch is the build that the index has; "without CUDA's libraries": by hand,
with empty ones in their place, which a CPU never calls. What `CELLS` names there and has no row here was not tried
yet."""


def _in_order(name: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, part.split("."))) for part in name.split("/")[:2])


if __name__ == "__main__":
    main()
