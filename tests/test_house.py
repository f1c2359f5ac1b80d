"""Each floor of the package imports only from floors below it, and no module imports itself by a detour.

Imports inside functions, and those for types alone, count like all others.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "limen"
GUIDE = SOURCE.parent.parent / "CONTRIBUTING.md"
FLOORS = (
    ("errors",),
    ("lazily",),
    ("naming",),
    ("catalogue",),
    ("memory",),
    ("collecting",),
    ("installed",),
    ("reading", "writing"),
    ("tracing",),
    ("stream",),
    ("formula",),
    (
        "kernels.errors",
        "kernels.bound",
        "kernels.precision",
        "kernels.graph_seeds",
        "kernels.remade",
        "kernels.choice",
        "kernels.straight_line",
    ),
    ("kernels.noise", "kernels.recomputable"),
    ("kernels.weights",),
    ("kernels.plain",),
    ("kernels.layout",),
    ("kernels.call",),
    ("kernels.autograd",),
    ("kernels.several",),
    ("kernels.c", "kernels.triton"),
    ("kernels.normed",),
    ("kernels.summed",),
    ("kernels.operators",),
    ("kernels.dispatch",),
    ("activations",),
    ("beside",),
    ("least_squares", "quadrature"),
    ("warmstart",),
    ("functional", "surgery", "training", "initialization", "bench", "diagnosis", "warming"),
    ("shipping",),
    ("adapters",),
    ("inspect",),
    ("explore",),
    ("selection",),
    ("deploy",),
    ("lab.rates",),
    ("lab.option",),
    ("lab.fields",),
    ("lab.settings", "lab.records", "lab.statistics", "lab.numerals", "lab.pictures"),
    ("lab.metric",),
    ("lab.data",),
    ("lab.networks",),
    ("lab.declaration",),
    ("lab.training",),
    ("lab.tasks",),
    ("lab.report",),
    ("lab.executing",),
    ("lab.study",),
    ("lab.suites",),
    ("lab.papers",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""From the ground up; what stands beside each other does not import each other, but for what lies in one folder."""
TASKS = tuple(path.name for path in sorted((SOURCE / "lab" / "tasks").iterdir()) if (path / "__init__.py").exists())
PACKAGES = ("kernels", "lab")
"""Whose own file imports nothing."""
RANK = {room: rank for rank, floor in enumerate(FLOORS) for room in floor}


def module_of(path: Path) -> str:
    """A file's dotted name below the package."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"}


def room_of(module: str) -> str:
    """The floor's name that a module belongs to: the longest that fits."""
    fitting = [room for room in RANK if f"{module}.".startswith(f"{room}.")]
    return max(fitting, key=len, default="")


@cache
def imports(text: str) -> list[ast.Import | ast.ImportFrom]:
    """The imports of a source text."""
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]


def imported(text: str, own: str = "") -> Iterator[str]:
    """The modules of the package that a source text imports anywhere."""
    for node in imports(text):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("limen.") for alias in node.names if alias.name.startswith("limen."))
        elif isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith("limen."):
            package = node.module.removeprefix("limen").removeprefix(".")
            for alias in node.names:
                full = f"{package}.{alias.name}".removeprefix(".")
                yield full if full in FILES else package
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{own} imports relatively"


def upward(module: str, text: str) -> set[str]:
    """What a module imports that is not below it: a higher floor, a neighbour's room, another task's folder."""
    own, found = room_of(module), set()
    for other in imported(text, module):
        room = room_of(other)
        if other in ("", *PACKAGES):
            continue
        beside = RANK[room] == RANK[own] and room != own and own.startswith(("kernels.", "lab."))
        if RANK[room] > RANK[own] or beside or (task_of(module) and task_of(other) not in ("", task_of(module))):
            found.add(other)
    return found


def task_of(module: str) -> str:
    """The task whose folder a module lies in."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["lab", "tasks"] and len(parts) > 2 and parts[2] in TASKS else ""


def test_the_contributing_guide_has_a_row_for_each_floor():
    house = GUIDE.read_text(encoding="utf-8").partition("## The house")[2].partition("## Adding")[0]
    rows = [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in house.splitlines() if line.startswith("| `")]
    named = [tuple(room.removesuffix(".py").strip("/").replace("/", ".") for room in row) for row in rows]
    assert named == list(FLOORS)


def test_every_module_has_a_floor():
    assert [module for module in FILES if not room_of(module)] == list(PACKAGES)


def test_nothing_imports_upward():
    found = {module: upward(module, FILES[module].read_text(encoding="utf-8")) for module in set(FILES) - set(PACKAGES)}
    above = {module: others for module, others in found.items() if others}
    assert not above, "these import what does not stand below them"


def test_no_module_imports_a_private_name_of_another():
    private = [
        f"{module}: {alias.name}"
        for module, path in FILES.items()
        for node in imports(path.read_text(encoding="utf-8"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("limen")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert not private


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("lab.training.run", "def f():\n    from limen.lab.tasks import registry\n", {"lab.tasks.registry"}),
        ("lab.data.base", "if TYPE_CHECKING:\n    from limen.lab.training.task import Task\n", {"lab.training.task"}),
        ("lab.tasks.detection.task", "from limen.lab.tasks.segmentation.task import Segmentation\n",
         {"lab.tasks.segmentation.task"}),
        ("lab.report.page", "import limen.lab.study.store\n", {"lab.study.store"}),
        ("lab.settings", "from limen.lab.records import Record\n", {"lab.records"}),
        ("kernels.triton.run", "from limen.kernels.c import build\n", {"kernels.c.build"}),
        ("kernels.plain", "def f():\n    from limen.kernels import dispatch\n", {"kernels.dispatch"}),
        ("lab.study.store", "from limen.lab.training.run import run\n", set()),
    ],
)  # fmt: skip
def test_an_import_upward_is_found_wherever_it_stands(module, line, found):
    assert upward(module, line) == found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another, in order; none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_a_detour():
    graph = {
        module: {other for other in imported(path.read_text(encoding="utf-8")) if other in FILES and other != module}
        for module, path in FILES.items()
    }
    assert circle(graph) == []
    there = next((one, other) for one in graph for other in graph[one])
    back = graph | {there[1]: graph[there[1]] | {there[0]}}
    assert circle(back) != []


def test_packages_of_rooms_import_nothing():
    for package in (*PACKAGES, "lab.tasks", *(f"lab.tasks.{task}" for task in TASKS)):
        assert list(imported(FILES[package].read_text(encoding="utf-8"))) == []
