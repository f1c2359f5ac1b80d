"""One change in this process: in functions that are imported already, or in a module when it is imported."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from mutation.changes import Mutant
from mutation.parts import ROOT, SOURCE


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
        change_header(mutant)
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


def change_header(mutant: Mutant) -> None:
    read_text, header = Path.read_text, ROOT / mutant.path

    def changed(self: Path, *args: Any, **named: Any) -> str:
        text = read_text(self, *args, **named)
        return mutant.applied(text) if self == header else text

    setattr(Path, "read_text", changed)  # noqa: B010  # a method for this process alone
