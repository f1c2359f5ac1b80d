"""Each floor of the package imports only from floors below it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "limen"
FLOORS = (
    ("errors",),
    ("formula",),
    ("kernels",),
    ("activations",),
    ("least_squares", "quadrature"),
    ("warmstart",),
    ("functional", "surgery", "training", "initialization", "adapters", "bench", "diagnosis"),
    ("inspect",),
    ("selection",),
    ("lab",),
    ("commands",),
    ("cli",),
)
RANK = {name: rank for rank, floor in enumerate(FLOORS) for name in floor}
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def floor_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_floors(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "limen":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("limen."):
            found.add(str(node.module).split(".")[1])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_imports_upward(path):
    own = floor_of(path)
    above = {name for name in imported_floors(path) if RANK[name] > RANK[own]}
    assert not above, f"{own} imports {above}, which stands above it"
