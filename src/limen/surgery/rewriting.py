"""Rewrite activation calls so that they call modules: ``F.relu(x)`` becomes ``self.relu_1(x)``.

The rewritten functions stand on a class derived from the module's own, made from a recipe of plain data.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from torch import nn

from limen.errors import LimenError
from limen.surgery.binding import part_at
from limen.surgery.calls import Body, Call
from limen.surgery.scope import Method, function_of
from limen.surgery.source import Source, read, redecorated, remake, undecorated
from limen.surgery.weaving import Fusion, weave

Position = tuple[int, int, int, int, str]

HIDING = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Containers whose items are their children: what surgery registers on them must not become an item."""


@dataclass(frozen=True)
class Edit:
    """Make one expression call ``self.<target>``."""

    position: Position
    how: str
    detail: str
    target: str


@dataclass(frozen=True)
class Rewrite:
    """The edits in one function, and the method that the result becomes."""

    method: str
    origin: Method | FunctionType
    digest: str
    edits: tuple[Edit, ...]
    fusions: tuple[Fusion, ...] = ()
    """What becomes one call, after the edits."""


def position(body: Body, node: ast.AST) -> Position:
    """Where a node stands, counted from the function's first line."""
    first = body.source.function.__code__.co_firstlineno
    at: Any = node
    return (at.lineno - first, at.col_offset, at.end_lineno - first, at.end_col_offset, type(node).__name__)


def edit(body: Body, call: Call, target: str) -> Edit:
    """The edit that turns a call into one of ``self.<target>``."""
    how, detail = call.how, call.detail
    return Edit(position(body, call.node), how, detail, target)


def redirection(body: Body, call: Call, target: str) -> Edit:
    """The edit that calls ``self.<target>`` with the same arguments."""
    called = call.node.func if isinstance(call.node, ast.Call) else call.node
    return Edit(position(body, called), "redirect", "", target)


def plan(
    bodies: list[Body], edits: Mapping[int, Sequence[Edit | Fusion]], before: tuple[Rewrite, ...] = ()
) -> tuple[Rewrite, ...]:
    """All rewrites that the edits, given by ``id`` of their body, need; callers of a moved function follow it."""
    made = {rewrite.origin: rewrite for rewrite in before}
    collected = {body.origin: list(edits.get(id(body), ())) for body in bodies}
    for origin, old in made.items():
        collected.setdefault(origin, [])
        collected[origin] = [*old.edits, *old.fusions, *(e for e in collected[origin] if e not in old.edits)]
    changed = {origin for origin, own in collected.items() if own}
    growing = True
    while growing:
        growing = False
        for body in bodies:
            for node, lead in body.leads:
                if lead in changed and body.origin not in changed:
                    changed.add(body.origin)
                    growing = True
                if lead in changed and _moves(lead, node):
                    redirect = Edit(position(body, node), "redirect", "", _own_name(lead, bodies))
                    if redirect not in collected[body.origin]:
                        collected[body.origin].append(redirect)
    by_origin = {body.origin: body for body in bodies}
    return tuple(
        Rewrite(_own_name(origin, bodies), origin, by_origin[origin].source.digest, *_parted(collected[origin]))
        for origin in collected
        if origin in changed and origin in by_origin and collected[origin]
    )


def _parted(edits: Sequence[Edit | Fusion]) -> tuple[tuple[Edit, ...], tuple[Fusion, ...]]:
    return tuple(e for e in edits if isinstance(e, Edit)), tuple(e for e in edits if isinstance(e, Fusion))


def _moves(lead: Method | FunctionType, node: ast.expr) -> bool:
    """Whether the rewritten function has another name than the call uses."""
    if isinstance(lead, FunctionType) or lead.of_class:
        return True
    return not (isinstance(node, ast.Attribute) and node.attr == lead.name and isinstance(node.value, ast.Name))


def _own_name(origin: Method | FunctionType, bodies: list[Body]) -> str:
    """A method keeps its name unless ``super()`` reaches it, which would pass the derived class by."""
    if isinstance(origin, FunctionType):
        return f"limen_{origin.__name__}"
    through_super = any(
        lead == origin and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call)
        for body in bodies
        for node, lead in body.leads
    )
    moved = through_super or origin.of_class
    return f"limen_{origin.owner.__name__}_{origin.name}" if moved else origin.name


def rewritten(
    base: type, rewrites: tuple[Rewrite, ...], hidden: tuple[str, ...], swapped: tuple[str, ...]
) -> dict[str, Any]:
    """What the derived class adds: the rewritten methods, and a view of containers without the new children."""
    namespace: dict[str, Any] = {rewrite.method: _made(rewrite) for rewrite in rewrites}
    namespace["limen_swapped"] = swapped
    if issubclass(base, HIDING):
        namespace.update(_hiding(base, frozenset(hidden)))
    return namespace


def _made(rewrite: Rewrite) -> Any:
    """The method, or the property, that stands on the derived class."""
    made, origin = _function(rewrite), rewrite.origin
    raw = vars(origin.owner)[origin.name] if isinstance(origin, Method) else None
    return property(made, raw.fset, raw.fdel, raw.__doc__) if isinstance(raw, property) else made


def _function(rewrite: Rewrite) -> FunctionType:
    origin = rewrite.origin
    function = function_of(origin)
    source = read(undecorated(function))
    if source.digest != rewrite.digest:
        raise LimenError(
            f"the source of {function.__qualname__} has changed since its activations were swapped; "
            "build the model anew, swap, and load the state dict."
        )
    node = tree_of(rewrite, source)
    of_class = isinstance(origin, Method) and origin.of_class
    self_name = _self_name(node) if isinstance(origin, Method) and not of_class else "limen_self"
    weave(node, rewrite.fusions, self_name)
    if not isinstance(origin, Method):
        node.args.args.insert(0, ast.arg("limen_self")) if not node.args.posonlyargs else node.args.posonlyargs.insert(
            0, ast.arg("limen_self"))  # fmt: skip
    if of_class:
        _take_instance(node)
    return redecorated(function, remake(source, node))


def tree_of(rewrite: Rewrite, source: Source) -> ast.FunctionDef:
    """The function's tree with its activations rewritten, and nothing else."""
    node = copy.deepcopy(source.node)
    origin = rewrite.origin
    of_class = isinstance(origin, Method) and origin.of_class
    self_name = _self_name(node) if isinstance(origin, Method) and not of_class else "limen_self"
    rewriter = _Rewriter({e.position: e for e in rewrite.edits}, self_name, source.function.__code__.co_firstlineno)
    node.body = [rewriter.visit(statement) for statement in node.body]
    return node


def _take_instance(node: ast.FunctionDef) -> None:
    """A class method gets the instance, and finds the class as its author wrote it under the old name."""
    own = [*node.args.posonlyargs, *node.args.args][0]
    name, own.arg = own.arg, "limen_self"
    found = ast.Attribute(ast.Name("limen_self", ast.Load()), "limen_base", ast.Load())
    node.body.insert(0, ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], found), node.body[0]))


def _self_name(node: ast.FunctionDef) -> str:
    return [*node.args.posonlyargs, *node.args.args][0].arg


class _Rewriter(ast.NodeTransformer):
    def __init__(self, edits: Mapping[Position, Edit], self_name: str, first: int) -> None:
        self.edits = edits
        self.self_name = self_name
        self.first = first

    def generic_visit(self, node: ast.AST) -> ast.AST:
        at: Any = node
        own = None
        if isinstance(node, ast.expr):
            key = (at.lineno - self.first, at.col_offset, (at.end_lineno or 0) - self.first, at.end_col_offset or 0)
            own = self.edits.get((*key, type(node).__name__))
        visited = super().generic_visit(node)
        if own is None or not isinstance(visited, ast.expr):
            return visited
        made = self._replacement(visited, own)
        for part in ast.walk(made):
            if isinstance(part, ast.expr) and not hasattr(part, "lineno"):
                ast.copy_location(part, visited)
        return made

    def _replacement(self, node: ast.expr, own: Edit) -> ast.expr:
        site = ast.Attribute(ast.Name(self.self_name, ast.Load()), own.target, ast.Load())
        if own.how == "redirect":
            return site
        if own.how == "name":
            return ast.Call(site, [ast.Name(own.detail, ast.Load())], [])
        if own.how == "inner":
            return ast.Call(site, [part_at(node, own.detail)], [])
        if own.how == "reference":
            return _taking_one(site)
        if not isinstance(node, ast.Call):
            raise AssertionError(own)
        if own.how == "owner" and isinstance(node.func, ast.Attribute):
            return ast.Call(site, [node.func.value], [])
        if own.how == "add_relu" and isinstance(node.func, ast.Attribute):
            plain = ast.Attribute(node.func.value, "add", ast.Load())
            return ast.Call(site, [ast.Call(plain, node.args, node.keywords)], [])
        if own.how == "keyword":
            return ast.Call(site, [next(k.value for k in node.keywords if k.arg == own.detail)], [])
        return ast.Call(site, [node.args[0]], [])


def _taking_one(site: ast.expr) -> ast.expr:
    """A function that calls the site with its first argument, for places that hand a function on."""
    names = [ast.arg(name) for name in ("limen_x", "limen_args", "limen_named")]
    arguments = ast.arguments([], [names[0]], names[1], [], [], names[2], [])
    return ast.Lambda(arguments, ast.Call(site, [ast.Name("limen_x", ast.Load())], []))


def _hiding(base: type, hidden: frozenset[str]) -> dict[str, Any]:
    """Iteration, length and look-up as if the registered activations were not there."""

    def visible(self: Any) -> dict[str, nn.Module]:
        return {name: child for name, child in self._modules.items() if name not in hidden}

    if issubclass(base, nn.ModuleDict):
        return {
            "__iter__": lambda self: iter(visible(self)),
            "__len__": lambda self: len(visible(self)),
            "keys": lambda self: visible(self).keys(),
            "values": lambda self: visible(self).values(),
            "items": lambda self: visible(self).items(),
        }

    def item(self: Any, index: Any) -> Any:
        values = list(visible(self).values())
        return base(*values[index]) if isinstance(index, slice) else values[index]

    def without(name: str) -> Any:
        """A method that renumbers the items, with the registered activations set aside."""

        def method(self: Any, *args: Any) -> Any:
            aside = {key: self._modules.pop(key) for key in hidden if key in self._modules}
            try:
                return getattr(base, name)(self, *args)
            finally:
                self._modules.update(aside)

        return method

    renumbering = ("insert", "__setitem__", "__delitem__")
    return {
        **{name: without(name) for name in renumbering},
        "__iter__": lambda self: iter(visible(self).values()),
        "__len__": lambda self: len(visible(self)),
        "__getitem__": item,
    }
