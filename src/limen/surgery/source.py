"""The source of a function as a syntax tree, and a changed tree as a function again.

A function made here has its original's globals, closure cells, defaults, file name and line numbers: tracebacks,
``super()``, private names and ``inspect.getsource`` work as before. Nothing is evaluated from a string.
"""

from __future__ import annotations
import __future__

import ast
import hashlib
import linecache
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CellType, CodeType, FunctionType
from typing import Any

from limen.surgery.binding import Children, bindings, children_of, of_instance, parents_of

_FUTURE_FLAGS = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_TREES: dict[tuple[str, str], dict[tuple[str, int], Definition]] = {}


class NoSourceError(Exception):
    """Why the source of a function cannot be used."""


@dataclass(frozen=True)
class Definition:
    """A function in a file, and the class it is written in, whose private names it shares."""

    node: ast.FunctionDef
    class_name: str
    imports: tuple[ast.stmt, ...]
    """The file's own imports: CPython compiles calls on imported names in another way."""

    @cached_property
    def bindings(self) -> Mapping[str, Any]:
        """What each local name is bound to."""
        return bindings(self.node)

    @cached_property
    def children(self) -> Children:
        """The parts of each node."""
        return children_of(self.node)

    @cached_property
    def parents(self) -> Mapping[int, ast.AST]:
        """The part that each part lies in."""
        return parents_of(self.children, self.node)

    @cached_property
    def of_instance(self) -> frozenset[int]:
        """The nodes that may mean something else for another instance."""
        return of_instance(self.node, self.bindings, self.children)


@dataclass(frozen=True)
class Source:
    """A function with the syntax tree that it was compiled from."""

    function: FunctionType
    definition: Definition

    @property
    def node(self) -> ast.FunctionDef:
        """The function's tree."""
        return self.definition.node

    @property
    def file(self) -> str:
        """Where it is written."""
        return self.function.__code__.co_filename

    @cached_property
    def digest(self) -> str:
        """Changes when the text of the function does."""
        first, last = self.function.__code__.co_firstlineno, self.node.end_lineno or 0
        text = "".join(_lines(self.function)[first - 1 : last])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(function: FunctionType) -> Source:
    """The function's source, checked to be what really runs.

    Raises:
        NoSourceError: if there is none, or if it has changed since the function was made.
    """
    lines = _lines(function)
    if not lines:
        raise NoSourceError("there is no source to rewrite")
    code = function.__code__
    definition = _definitions(code.co_filename, "".join(lines)).get((code.co_name, code.co_firstlineno))
    if definition is None:
        raise NoSourceError("its source cannot be found")
    source = Source(function, definition)
    if not _same(_compiled(source, definition.node), code):
        raise NoSourceError("its source is not the code that runs")
    return source


class Library:
    """Sources that are read once, and what is known of them, for as long as one swap looks at a model."""

    def __init__(self, held: Container[int] = ()) -> None:
        self.held = held
        """The ``id`` of everything that the model's modules hold."""
        self.clean: set[Any] = set()
        """Helper functions that were read and lead to no activation."""
        self._read: dict[FunctionType, Source | str] = {}
        self._barren: dict[tuple[FunctionType, type | None], set[int]] = {}

    def read(self, function: FunctionType) -> Source:
        """As :func:`read`.

        Raises:
            NoSourceError: likewise.
        """
        if function not in self._read:
            try:
                self._read[function] = read(function)
            except NoSourceError as reason:
                self._read[function] = str(reason)
        found = self._read[function]
        if isinstance(found, str):
            raise NoSourceError(found)
        return found

    def barren(self, function: FunctionType, owner: type | None) -> set[int]:
        """The nodes of a function, as a method of a class, that lead to no activation whatever the instance is."""
        return self._barren.setdefault((function, owner), set())


def remake(source: Source, node: ast.FunctionDef) -> FunctionType:
    """The function with ``node`` for its body, everything else as it was."""
    original = source.function
    code = _compiled(source, node)
    cells = dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(code, original.__globals__, original.__name__, original.__defaults__, closure)
    made.__kwdefaults__ = original.__kwdefaults__
    made.__annotations__ = dict(original.__annotations__)
    made.__doc__ = original.__doc__
    made.__module__ = original.__module__
    made.__qualname__ = original.__qualname__
    made.__dict__.update(original.__dict__)
    return made


def undecorated(function: Any) -> FunctionType:
    """The innermost function below decorators that keep what they wrap in a closure.

    Raises:
        NoSourceError: if ``function`` is no Python function.
    """
    if not isinstance(function, FunctionType):
        raise NoSourceError(f"it is no Python function but {type(function).__name__}")
    inner = _wrapped(function)
    return function if inner is None else undecorated(inner)


def redecorated(function: FunctionType, new: FunctionType) -> FunctionType:
    """``new`` under copies of the decorators' wrappers that stood round the innermost function."""
    inner = _wrapped(function)
    if inner is None:
        return new
    renewed = redecorated(inner, new)
    cells = tuple(CellType(renewed) if _content(cell) is inner else cell for cell in function.__closure__ or ())
    if not any(_content(cell) is renewed for cell in cells):
        raise NoSourceError(f"the decorator {function.__code__.co_qualname!r} hides it" if hasattr(
            function.__code__, "co_qualname") else "a decorator hides it")  # fmt: skip
    made = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(function.__dict__)
    if "__wrapped__" in made.__dict__:
        made.__wrapped__ = renewed  # type: ignore[attr-defined]
    made.__qualname__, made.__doc__, made.__module__ = function.__qualname__, function.__doc__, function.__module__
    return made


def _wrapped(function: FunctionType) -> FunctionType | None:
    named: Any = function.__dict__.get("__wrapped__")
    if isinstance(named, FunctionType):
        return named
    hidden = [_content(cell) for cell in function.__closure__ or ()]
    same_name = [f for f in hidden if isinstance(f, FunctionType) and f.__name__ in ("forward", function.__name__)]
    is_wrapper = function.__code__.co_name != "forward" and "<locals>" in function.__qualname__
    return same_name[0] if len(same_name) == 1 and is_wrapper else None


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # still empty
        return None


def _lines(function: FunctionType) -> list[str]:
    linecache.checkcache(function.__code__.co_filename)
    return linecache.getlines(function.__code__.co_filename, function.__globals__)


def _definitions(file: str, text: str) -> dict[tuple[str, int], Definition]:
    """Every function in a file by name and first line, decorators included."""
    key = (file, hashlib.sha256(text.encode()).hexdigest())
    if key not in _TREES:
        try:
            tree = ast.parse(text)
        except SyntaxError:
            tree = ast.Module([], [])
        found: dict[tuple[str, int], Definition] = {}
        _collect(tree, "", tuple(_imports(tree)), found)
        _TREES[key] = found
    return _TREES[key]


def _collect(
    node: ast.AST, class_name: str, imports: tuple[ast.stmt, ...], found: dict[tuple[str, int], Definition]
) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            found[child.name, first] = Definition(child, class_name, imports)
        _collect(child, child.name if isinstance(child, ast.ClassDef) else class_name, imports, found)


def _imports(node: ast.AST) -> Iterator[ast.stmt]:
    """The imports of a module's own scope."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import) or (isinstance(child, ast.ImportFrom) and child.module != "__future__"):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _imports(child)


def _compiled(source: Source, node: ast.FunctionDef) -> CodeType:
    """Compile a definition where its free names are free and its class's private names are mangled.

    What surrounds it is compiled and never run.
    """
    free = [name for name in source.function.__code__.co_freevars if name != "__class__"]
    body: list[ast.stmt] = [node]
    if source.definition.class_name:
        body = [ast.ClassDef(source.definition.class_name, [], [], body, [], **_no_type_parameters())]
    arguments = ast.arguments([], [ast.arg(name) for name in free], None, [], [], None, [])
    own_name = source.definition.class_name or node.name
    if own_name not in free:
        # Else a method that names its class, as in super(Net, self), would look for it in the surroundings.
        body.insert(0, ast.Global([own_name]))
    factory = ast.FunctionDef("surroundings", arguments, body, [], **_no_type_parameters())
    module = ast.fix_missing_locations(ast.Module([*source.definition.imports, factory], []))
    flags = source.function.__code__.co_flags & _FUTURE_FLAGS
    whole = compile(module, source.file, "exec", flags=flags, dont_inherit=True)
    return _code_within(whole, source.function.__code__)


def _no_type_parameters() -> dict[str, Any]:
    return {"type_params": []} if "type_params" in ast.FunctionDef._fields else {}


def _code_within(code: CodeType, wanted: CodeType) -> CodeType:
    waiting = [code]
    while waiting:
        current = waiting.pop(0)
        if current.co_name == wanted.co_name and current.co_firstlineno == wanted.co_firstlineno:
            return current
        waiting += [constant for constant in current.co_consts if isinstance(constant, CodeType)]
    raise NoSourceError("its source cannot be compiled alone")


def _same(first: CodeType, second: CodeType) -> bool:
    if (first.co_code, first.co_names, first.co_varnames) != (second.co_code, second.co_names, second.co_varnames):
        return False
    if len(first.co_consts) != len(second.co_consts):
        return False
    return all(
        _same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else _same_constant(a, b)
        for a, b in zip(first.co_consts, second.co_consts, strict=True)
    )


def _same_constant(first: Any, second: Any) -> bool:
    """Equal; Python 3.10 also keeps the full names of nested functions here, which the surroundings lengthen."""
    if isinstance(first, str) and isinstance(second, str) and "<locals>" in first:
        return first.endswith(second.rpartition("<locals>")[2])
    return type(first) is type(second) and first == second
