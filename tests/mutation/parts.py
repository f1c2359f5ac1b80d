"""The parts of the package, the tests that must notice a change of each, and which changes are tried."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutation.changes import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "limen"
SEED = 20


@dataclass(frozen=True)
class Module:
    """A part of the package, the tests that must notice a change of it, and how many changes are tried."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    count: int


MODULES = {
    "formula": Module(("formula/*.py",), ("formula", "activations/test_vectors.py"), 35),
    "beside": Module(
        (
            *("beside/*.py", "kernels/several.py", "kernels/normed.py"),
            *("kernels/c/several.py", "kernels/c/normed.py"),
        ),
        ("beside",),
        32,
    ),
    "kernels": Module(
        ("kernels/*.py",),
        (
            *("kernels/test_layouts.py", "kernels/test_dispatch.py", "kernels/test_choice.py", "kernels/test_noise.py"),
            *("kernels/test_graph_seeds.py", "kernels/test_lazy_tensors.py", "kernels/test_c_kernels.py"),
            *("kernels/test_short_calls.py", "kernels/test_operators.py", "kernels/test_around_kernels.py"),
            *("activations/test_as_torch_modules.py", "activations/test_masks.py", "kernels/test_precision.py"),
        ),
        27,
    ),
    "kernels/c": Module(
        ("kernels/c/*.py", "kernels/c/*.h"),
        (
            *("kernels/test_c_kernels.py", "kernels/test_layouts.py", "kernels/test_short_calls.py"),
            *("kernels/test_noise.py", "kernels/test_arithmetic.py", "kernels/test_vector_math.py"),
            *("kernels/test_cache.py", "kernels/test_compiler.py"),
        ),
        45,
    ),
    "activations": Module(
        ("activations/*.py",), ("activations", "selection/test_search.py", "adapters/test_names.py"), 30
    ),
    "surgery": Module(("surgery/*.py",), ("surgery",), 40),
    "selection": Module(("selection/*.py",), ("selection",), 45),
    "statistics": Module(
        ("lab/statistics/*.py",),
        (
            "lab/test_statistics.py",
            "lab/test_evidence.py",
            "lab/test_training_to_a_score.py",
            "lab/test_statistics_across_problems.py",
            "lab/test_groups_of_runs.py",
        ),
        40,
    ),
    "ledger": Module(
        ("lab/papers/ledger/*.py", "lab/papers/verdicts.py"),
        ("lab/papers/test_claims.py", "lab/papers/test_formula_claims.py", "lab/papers/test_measures.py"),
        30,
    ),
    "metrics": Module(
        (
            *("lab/metric.py", "lab/tasks/anomaly/scores.py", "lab/tasks/detection/average_precision.py"),
            *("lab/tasks/numbers/residuals.py", "lab/tasks/generation/frechet.py"),
        ),
        (
            *("lab/tasks/test_metrics.py", "lab/test_metric_values.py", "lab/papers/test_measures.py"),
            "lab/tasks/generation/test_embedding.py",
        ),
        25,
    ),
    "studies": Module(
        (
            *("lab/suites/*.py", "lab/study/conducting.py", "lab/study/deciding.py", "lab/study/planning.py"),
            *("lab/study/tuning.py", "lab/study/searching.py", "lab/study/suggesting.py", "lab/study/tr*.py"),
            *("lab/executing/capacity.py", "lab/executing/sharing.py", "lab/executing/local.py"),
        ),
        (
            *("lab/suites", "lab/study/test_deciding.py", "lab/study/test_tuning.py"),
            *("lab/study/test_trial_seeds.py", "lab/study/test_growing_tunings.py"),
            *("lab/study/test_select.py", "lab/executing/test_processes.py", "lab/executing/test_capacity.py"),
            "commands/test_suite.py",
        ),
        32,
    ),
    "language": Module(("lab/tasks/language/*.py",), ("lab/tasks/language",), 12),
    "vision": Module(
        (
            *("lab/networks/region_operators.py", "lab/tasks/detection/boxes.py", "lab/tasks/detection/geometry.py"),
            *("lab/tasks/detection/masks.py", "lab/tasks/detection/default_boxes.py"),
        ),
        (
            *("lab/networks/test_region_operators.py", "lab/tasks/detection/test_object_masks.py"),
            *("lab/tasks/detection/test_default_boxes.py", "lab/tasks/detection/test_detection.py"),
        ),
        16,
    ),
    "deploy": Module(("deploy/*.py",), ("deploy/test_simplifying.py",), 16),
    "explore": Module(("explore/*.py",), ("explore",), 10),
    "shipping": Module(("shipping.py",), ("kernels/test_shipped.py",), 4),
}


def sources(name: str) -> list[Path]:
    """The files of a part; one that several name belongs to the first."""
    of_others: set[Path] = set()
    for other, module in MODULES.items():
        files = [file for pattern in module.sources for file in sorted(SOURCE.glob(pattern))]
        if other == name:
            return [file for file in files if file not in of_others]
        of_others.update(files)
    raise KeyError(name)


def chosen(name: str, known: Collection[tuple[str, ...]] = ()) -> list[Mutant]:
    """Those that are known, then of as many files and kinds as there are; the same ones every time."""
    draw = random.Random(f"{SEED} {name}")
    order = []
    for file in sources(name):
        found = mutants_of(file, ROOT)
        draw.shuffle(found)
        seen: Counter[str] = Counter()
        for mutant in found:
            order.append((seen[mutant.kind], draw.random(), mutant))
            seen[mutant.kind] += 1
    met = {path for path, *_ in known}

    def place(each: tuple[int, float, Mutant]) -> tuple[bool, bool, int, float]:
        times, drawn, mutant = each
        return key(mutant.as_dict()) not in known, mutant.path in met, times, drawn

    return [mutant for *_, mutant in sorted(order, key=place)[: MODULES[name].count]]


def tests_of(name: str) -> list[Path]:
    """Where the tests of a part are, and its files for their examples."""
    examples = [file for file in sources(name) if file.suffix == ".py"]
    return [ROOT / "tests" / test for test in MODULES[name].tests] + examples


def key(one: Mapping[str, Any]) -> tuple[str, ...]:
    """By what a mutant is found again though lines were added above it."""
    return (one["path"], one["text"].strip(), str(one["column"]), one["old"], one["new"])
