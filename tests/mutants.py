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
import contextlib
import gc
import importlib
import inspect
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from helpers_mutants import Mutant, mutants_of

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "limen"
HEAVY = ("torch", "torch.distributed", "sympy", "scipy.stats", "hypothesis")
OF_THE_LAB = ("sklearn.metrics", "torchmetrics", "lightning", "pydantic", "matplotlib.pyplot", "transformers", "typer")
"""Imported once, since their import takes seconds."""
OF_LAB = {"statistics", "ledger", "metrics", "studies", "language", "vision"}
QUICK = "not slow and not thorough and not triton and not gpu"
LONG = re.compile("compile(?!r)|export|graph_break|ddp|planted|import_loads|no_text_does|torch_alone|begun_threads")
"""In the names of tests that take long."""
LONGEST = 8.0
"""Seconds of a test; a longer one is left out."""
BUDGET = 12.0
"""Seconds of all tests that a mutant is given, if none of them fails; those that pass over its line count half."""
NO_REASON = {"why": "", "same": False}
"""What is written by hand of a survivor in the JSON: why it survives, and whether because it changes nothing."""
ENDS = {None: "it waited for ever", -signal.SIGKILL: "it took too long", -signal.SIGXCPU: "it took too long"}
SEED = 20
TERMINAL = os.dup(1)
"""Where results are said, wherever a process has its output otherwise."""
ABOUT = """# Mutants

`python tests/mutants.py --out docs/results/mutants.json`: {count} changes of a single token, and whether tests of the
module notice them. Of the usual tools neither serves here: mutmut changes the bodies of functions only, so neither a
constant of a module nor C, and cosmic-ray starts a process for each change, in which the import of torch takes longer
than the tests.

What is computed and said is the same to the last bit where a change *changes nothing*; such changes do not count in the
last column. All that was *not noticed* does, whatever the reason.
"""


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
            *("lab/study/tuning.py", "lab/study/searching.py", "lab/study/suggesting.py", "lab/study/tr*ing.py"),
            *("lab/executing/capacity.py", "lab/executing/sharing.py", "lab/executing/local.py"),
        ),
        (
            *("lab/suites", "lab/study/test_deciding.py", "lab/study/test_tuning.py"),
            *("lab/study/test_select.py", "lab/executing/test_processes.py", "commands/test_suite.py"),
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


@dataclass
class Outcome:
    """What came of a mutant."""

    by: str
    """The first test that noticed it; empty if none did."""
    seconds: float
    tried: bool = True
    """Whether it could be, in functions that were imported before."""


@dataclass
class Passed:
    """What a test takes and which lines it passes over, by file."""

    seconds: float
    lines: dict[str, list[int]] = field(default_factory=dict)


# --- in the process of a mutant ---


class Recording:
    """Notes of each test its seconds and the lines of some files that it passes over."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = {str(file) for file in files}
        self.tests: dict[str, Passed] = {}

    def run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Run one test."""
        lines: dict[str, set[int]] = {}

        def within(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            if event == "line":
                lines[frame.f_code.co_filename].add(frame.f_lineno)
            return within

        def called(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
            file = frame.f_code.co_filename
            if file not in self.files:
                return None
            lines.setdefault(file, set()).add(frame.f_lineno)
            return within

        before = _processor_seconds()
        sys.settrace(called)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.settrace(None)
        found = {str(Path(file).relative_to(ROOT)): sorted(seen) for file, seen in lines.items()}
        self.tests[item.nodeid] = Passed(_processor_seconds() - before, found)


class Failures:
    """Which tests fail, first of all which first."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a failure."""
        if report.failed:
            self.names.append(report.nodeid)


def chosen_tests(
    items: Sequence[pytest.Item], mutant: Mutant, tests: Mapping[str, Passed], within: float
) -> list[pytest.Item]:
    """Those that pass over the line, then over the file, then the others, each time the quickest first."""

    def order(item: pytest.Item) -> tuple[int, float]:
        test = tests[item.nodeid]
        lines = test.lines.get(mutant.path, ())
        return (0 if mutant.line in lines else 1 if lines else 2, test.seconds)

    spent, taken = 0.0, []
    for item in sorted((item for item in items if item.nodeid in tests), key=order):
        elsewhere, seconds = order(item)
        if seconds < LONGEST:
            spent += seconds if elsewhere else seconds / 2
            if spent < within:
                taken.append(item)
    return taken


def first_failure(items: Sequence[pytest.Item], failures: Failures) -> str:
    """Run tests until one fails."""
    for item, following in zip_longest(items, items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failures.names:
            return failures.names[0]
    return ""


def _processor_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Changed(SourceFileLoader):
    """Loads a module from its file with one change."""

    def __init__(self, name: str, file: Path, mutant: Mutant) -> None:
        super().__init__(name, str(file))
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        """Compiled anew, whatever is stored."""
        return compiled(Path(self.path), self.mutant)


class Finder(MetaPathFinder):
    """Finds one module changed."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant, self.file = mutant, ROOT / mutant.path
        parts = self.file.relative_to(SOURCE.parent).with_suffix("").parts
        self.name = ".".join(parts).removesuffix(".__init__")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The changed module, and no other."""
        if fullname != self.name:
            return None
        package = [str(self.file.parent)] if self.file.name == "__init__.py" else None
        loader = Changed(fullname, self.file, self.mutant)
        return spec_from_file_location(fullname, self.file, loader=loader, submodule_search_locations=package)

    def pytest_sessionstart(self) -> None:
        """Before pytest's own finder, which would load a file that is named on its command line from that file."""
        sys.meta_path.insert(0, self)


def compiled(file: Path, mutant: Mutant | None = None) -> CodeType:
    """A module's code, with a change."""
    source = file.read_text(encoding="utf-8")
    return compile(mutant.applied(source) if mutant else source, file, "exec", dont_inherit=True)


def change_functions(mutant: Mutant) -> bool:
    """Change the functions of a module that is imported already; False if the change is not one of functions."""
    if mutant.path.endswith(".h"):
        _change_header(mutant)
        return True
    file = ROOT / mutant.path
    before, after = list(_codes(compiled(file))), list(_codes(compiled(file, mutant)))
    changed = {}
    for old, new in zip(before, after, strict=True):
        if old == new:
            continue
        if not old.co_flags & inspect.CO_OPTIMIZED and _own(old) != _own(new):
            return False  # the body of a module or a class, which has run
        changed[old.co_qualname, old.co_firstlineno] = new
    functions = [found for found in gc.get_objects() if type(found) is FunctionType]
    mine = [f for f in functions if f.__code__.co_filename == str(file)]
    reached = [(f, changed.get((f.__code__.co_qualname, f.__code__.co_firstlineno))) for f in mine]
    for function, code in reached:
        if code is not None:
            function.__code__ = code
    return any(code is not None for _, code in reached)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _own(code: CodeType) -> tuple[object, ...]:
    """What a body does, but for the functions that it defines."""
    constants = [repr(constant) for constant in code.co_consts if not isinstance(constant, CodeType)]
    return (code.co_code, code.co_names, constants)


def _change_header(mutant: Mutant) -> None:
    read_text, header = Path.read_text, ROOT / mutant.path

    def changed(self: Path, *args: Any, **named: Any) -> str:
        text = read_text(self, *args, **named)
        return mutant.applied(text) if self == header else text

    setattr(Path, "read_text", changed)  # noqa: B010  # a method for this process alone


def run_tests(paths: Sequence[Path], work: Path, *plugins: object) -> int:
    """Run pytest in this process."""
    common = ["-q", "-p", "no:xdist", "-m", QUICK, f"--basetemp={work / 'tmp'}", "-o", f"cache_dir={work / 'cache'}"]
    common += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins whose libraries were imported before
    return int(pytest.main([*common, *map(str, paths)], plugins=list(plugins)))


def _alone(work: Path) -> None:
    """Nothing that a mutant writes stays: its own home and kernels, which begin as the common ones."""
    own = work / "kernels"
    own.mkdir(mode=0o700)
    for entry in _kernels().glob("*-*.*"):
        os.link(entry, own / entry.name)
    os.environ.update(LIMEN_CACHE=str(own), HOME=str(work), XDG_CACHE_HOME=str(work / "cache"), TMPDIR=str(work))
    tempfile.tempdir = None


# --- in the processes that start them ---


class Quick:
    """Leaves out the tests that take long."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """By the name of the function, not of its file."""
        items[:] = [item for item in items if not LONG.search(item.name)]


class Serving(Quick):
    """Has limen and the tests of a part imported, and forks from there a process for each change of a function."""

    def __init__(self, files: Sequence[Path], mutants: Sequence[Mutant], within: float) -> None:
        self.files, self.mutants, self.within, self.failures = files, mutants, within, Failures()
        self.tests: dict[str, Passed] = {}
        self.outcomes: list[Outcome] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """The tests as they are, then those that pass with each change."""
        session.config.pluginmanager.register(self.failures)
        found, said = forked(lambda _: self._record(session.items), within=1500)
        if found is None:
            raise pytest.UsageError(f"{said}\nthe tests do not come to an end without any change.")
        for name in found["failed"]:
            os.write(TERMINAL, f"left out, since it fails without any change: {name}\n".encode())
        passing = found["tests"].keys() - set(found["failed"])
        self.tests = {name: Passed(**found["tests"][name]) for name in passing}
        for mutant in self.mutants:
            self.outcomes.append(self._try(session.items, mutant))
            say(mutant, self.outcomes[-1])
        return True

    def _record(self, items: Sequence[pytest.Item]) -> dict[str, Any]:
        recording = Recording(self.files)
        for item, following in zip_longest(items, items[1:]):
            recording.run(item, following)
        tests = {name: asdict(test) for name, test in recording.tests.items()}
        return {"failed": self.failures.names, "tests": tests}

    def _try(self, items: Sequence[pytest.Item], mutant: Mutant) -> Outcome:
        def task(work: Path) -> dict[str, Any]:
            _alone(work)
            if not change_functions(mutant):
                return {"by": "", "tried": False}
            return {"by": first_failure(chosen_tests(items, mutant, self.tests, self.within), self.failures)}

        return outcome(task)


class Choosing(Quick):
    """Runs the tests that concern a change, in a process that imports limen with it."""

    def __init__(self, mutant: Mutant, tests: Mapping[str, Passed], within: float) -> None:
        self.mutant, self.tests, self.within, self.failures, self.ran = mutant, tests, within, Failures(), 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """The chosen ones, until one fails."""
        session.config.pluginmanager.register(self.failures)
        items = chosen_tests(session.items, self.mutant, self.tests, self.within)
        self.ran = len(items)
        first_failure(items, self.failures)
        return True


def say(mutant: Mutant, outcome: Outcome) -> None:
    """A line for what came of a mutant."""
    state = "killed  " if outcome.by else "survived" if outcome.tried else "no function"
    os.write(TERMINAL, f"{state} {outcome.seconds:5.1f} s  {mutant.name}\n".encode())


def outcome(task: Callable[[Path], dict[str, Any]]) -> Outcome:
    """Whether a mutant is noticed, which it also is by crashing or by taking too long."""
    start = time.monotonic()
    found, said = forked(task, within=9 * BUDGET)
    seconds = time.monotonic() - start
    return Outcome(said, seconds) if found is None else Outcome(seconds=seconds, **found)


def forked(task: Callable[[Path], dict[str, Any]], within: float) -> tuple[dict[str, Any] | None, str]:
    """What a task in a process of its own gives, and what it says; no gift if it crashes or takes too many seconds."""
    work = Path(tempfile.mkdtemp(dir=_scratch()))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            log = os.open(work / "log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            limit = int(within) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            (work / "found.json").write_text(json.dumps(task(work)), encoding="utf-8")
            code = 0
        finally:
            traceback.print_exc()
            os._exit(code)
    ended = _wait(child, time.monotonic() + 20 * within)
    found, said = work / "found.json", work / "log"
    given = json.loads(found.read_text(encoding="utf-8")) if ended == 0 else None
    text = said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""
    shutil.rmtree(work, ignore_errors=True)
    return given, text if ended in (0, 1) else ENDS.get(ended, "it crashed")


def _wait(child: int, until: float) -> int | None:
    """How a process ended, nothing if it did not; then it and all that it started are gone."""
    ended, status = 0, 0
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


def _scratch() -> Path:
    """On the file system of the kernels, so that they can be linked."""
    folder = Path(os.environ["LIMEN_MUTANTS"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kernels() -> Path:
    return Path(os.environ["LIMEN_CACHE"])


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


def tried(paths: Sequence[Path], mutants: Sequence[Mutant], within: float, *, again: bool) -> list[Outcome]:
    """Try the mutants of a part: in functions that are imported already, or imported anew where they are elsewhere."""
    files = sorted({ROOT / mutant.path for mutant in mutants})

    def serve(work: Path) -> dict[str, Any]:
        serving = Serving(files, mutants, within)
        code = run_tests(paths, work, serving)
        tests = {name: asdict(test) for name, test in serving.tests.items()}
        return {"code": code, "tests": tests, "outcomes": [asdict(one) for one in serving.outcomes]}

    found, said = forked(serve, within=20_000)
    if found is None or len(found["outcomes"]) < len(mutants):
        raise SystemExit(f"{said}\nthe tests {[*map(str, paths)]} could not be run.")
    tests = {name: Passed(**test) for name, test in found["tests"].items()}
    outcomes = [Outcome(**one) for one in found["outcomes"]]
    for index, mutant in enumerate(mutants):
        if not outcomes[index].by and (again or not outcomes[index].tried):
            outcomes[index] = _tried_anew(mutant, tests, within)
            say(mutant, outcomes[index])
    return outcomes


def _tried_anew(mutant: Mutant, tests: Mapping[str, Passed], within: float) -> Outcome:
    touching = [test.partition("::")[0] for test, passed in tests.items() if mutant.path in passed.lines]
    every = [test.partition("::")[0] for test in tests]
    paths = [ROOT / file for file in dict.fromkeys(touching or every)]

    def task(work: Path) -> dict[str, Any]:
        _alone(work)
        choosing = Choosing(mutant, tests, within)
        if mutant.path.endswith(".h"):
            _change_header(mutant)
            code = run_tests(paths, work, choosing)
        else:
            finder = Finder(mutant)
            sys.meta_path.insert(0, finder)
            code = run_tests(paths, work, choosing, finder)
        imported = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
        failed = next(iter(choosing.failures.names), "" if imported else "at import")
        return {"by": failed or ("" if choosing.ran else "at import")}

    return outcome(task)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The page beside the JSON."""
    lines = [ABOUT.format(count=len(results))]
    lines += ["| module | mutants | change nothing | killed | survive | killed of those that change something |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    lines += [_row(name, [one for one in results if name in (one["module"], "all")]) for name in [*MODULES, "all"]]
    for heading, same in (("Not noticed", False), ("Change nothing", True)):
        lines += ["", f"## {heading}", "", "| where | change | why |", "| --- | --- | --- |"]
        lines += [_survivor(one) for one in results if not one["by"] and one["same"] == same]
    return "\n".join(lines) + "\n"


def _row(name: str, mine: Sequence[Mapping[str, Any]]) -> str:
    if not mine:
        return f"| {name} | not tried yet | – | – | – | – |"
    killed, same = sum(bool(one["by"]) for one in mine), sum(one["same"] for one in mine)
    share = f"{killed / (len(mine) - same):.1%}"
    return f"| {name} | {len(mine)} | {same} | {killed} | {len(mine) - killed - same} | {share} |"


def _survivor(one: Mapping[str, Any]) -> str:
    code = one["text"].strip().replace("`", "'")
    change = f"`{one['old']}` → `{one['new']}` in `{code}`".replace("``", "nothing").replace("|", "\\|")
    return f"| {one['path'].removeprefix('src/limen/')}:{one['line']} | {change} | {one['why'] or '?'} |"


def stored(out: Path | None) -> list[dict[str, Any]]:
    """What came of an earlier run."""
    if out is None or not out.exists():
        return []
    return list(json.loads(out.read_text(encoding="utf-8")))


def _open(one: Mapping[str, Any]) -> bool:
    """Whether no test noticed a change that a test could notice."""
    return not (one["by"] or one["same"])


def key(one: Mapping[str, Any]) -> tuple[str, ...]:
    """By what a mutant is found again though lines were added above it."""
    return (one["path"], one["text"].strip(), str(one["column"]), one["old"], one["new"])


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


def _write(out: Path, results: Sequence[Mapping[str, Any]]) -> None:
    ordered = sorted(results, key=lambda one: (list(MODULES).index(one["module"]), one["path"], one["line"]))
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in ordered)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    out.with_suffix(".md").write_text(table(ordered), encoding="utf-8")


if __name__ == "__main__":
    main()
