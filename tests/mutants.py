"""Whether the tests can fail: tokens are changed one at a time, and the tests of the module must notice each change.

    python tests/mutants.py --out docs/results/mutants.json
    python tests/mutants.py --only selection
    python tests/mutants.py --again --out docs/results/mutants.json
    python tests/mutants.py --only kernels --by kernels/test_layouts.py --out docs/results/mutants.json

By hand, not in CI: a few seconds a mutant on an idle core, and as long as the tests of each part before. torch, limen
and the tests of a part are imported once; each mutant is a process forked from there, in which the functions of the
changed file have the code of the change. What is changed outside functions, and all that survived, with ``--again``,
is imported anew; that tries what survived in ``--out`` before or is not in it, and ``--by`` only the former, by some
tests, such as those written since. Mutants in ``--out`` stay as long as their lines do; others are drawn for those
that are gone, of files of which there are none first. It runs the tests that pass over the changed line first, the
quickest of them first, then others of its part, for at most so many seconds; which lines a test passes over is found
out beforehand, and one that fails then, as those of time limits may, is left out. Kernels are kept by their source, so
that a change of it is compiled; each process has a folder of its own for them all the same. Beside the JSON lies a
table, in which each survivor has its reason: the field ``why`` of the JSON, which is written by hand and stays, as does
``same``, which is true where the change changes nothing that limen computes or says; such a one does not count.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mutation.page import table
from mutation.parts import MODULES, ROOT, chosen, key, tests_of
from mutation.trying import BUDGET, tried

HEAVY = ("torch", "torch.distributed", "sympy", "scipy.stats", "hypothesis")
OF_THE_LAB = ("sklearn.metrics", "torchmetrics", "lightning", "pydantic", "matplotlib.pyplot", "transformers", "typer")
"""Imported once, since their import takes seconds."""
OF_LAB = {"statistics", "ledger", "metrics", "studies", "language", "vision"}
NO_REASON = {"why": "", "same": False}
"""What is written by hand of a survivor in the JSON: why it survives, and whether because it changes nothing."""


def main() -> None:
    """Try the mutants of all parts or of some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MODULES, nargs="+", default=[*MODULES], help="some parts of the package")
    parser.add_argument("--again", action="store_true", help="only what survived in --out or is new")
    parser.add_argument(
        "--by", nargs="+", default=[], metavar="TEST", help="what survived in --out, by these tests only"
    )
    parser.add_argument("--seconds", type=float, default=BUDGET, help="of all tests that a mutant is given")
    parser.add_argument("--out", type=Path, help="a JSON file; the table is written beside it")
    given = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", CI="1")  # one core, and the same examples every time
    cache = os.path.abspath(os.environ.get("LIMEN_CACHE", ROOT / ".cache" / "kernels"))
    os.environ.update(LIMEN_CACHE=cache, LIMEN_MUTANTS=f"{cache}-of-mutants")
    for library in (*HEAVY, *(OF_THE_LAB if OF_LAB & {*given.only} else ())):
        importlib.import_module(library)
    os.chdir(ROOT)
    results = {key(one): one for one in stored(given.out)}
    for name in given.only:
        before = {k: results.pop(k) for k, one in list(results.items()) if one["module"] == name}
        mutants = {key(mutant.as_dict()): mutant for mutant in chosen(name, before)}
        results |= {k: before[k] for k in mutants if k in before}
        if given.by:
            mutants = {k: mutant for k, mutant in mutants.items() if k in before and _open(before[k])}
        elif given.again:
            mutants = {k: mutant for k, mutant in mutants.items() if k not in before or _open(before[k])}
        paths = [ROOT / "tests" / test for test in given.by] or tests_of(name)
        outcomes = tried(paths, [*mutants.values()], given.seconds, again=given.again) if mutants else []
        for (k, mutant), outcome in zip(mutants.items(), outcomes, strict=True):
            kept = {} if outcome.by or k not in before else {name: before[k][name] for name in NO_REASON}
            results[k] = {"module": name, **mutant.as_dict(), "by": outcome.by, **NO_REASON, **kept}
        if given.out is not None:
            _write(given.out, [*results.values()])


def stored(out: Path | None) -> list[dict[str, Any]]:
    """What came of an earlier run."""
    if out is None or not out.exists():
        return []
    return list(json.loads(out.read_text(encoding="utf-8")))


def _open(one: Mapping[str, Any]) -> bool:
    """Whether no test noticed a change that a test could notice."""
    return not (one["by"] or one["same"])


def _write(out: Path, results: Sequence[Mapping[str, Any]]) -> None:
    ordered = sorted(results, key=lambda one: (list(MODULES).index(one["module"]), one["path"], one["line"]))
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in ordered)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    out.with_suffix(".md").write_text(table(ordered), encoding="utf-8")


if __name__ == "__main__":
    main()
