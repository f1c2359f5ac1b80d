"""Where the input of an activation comes from and where its result goes, as far as source and structure show."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from limen.surgery.calls import Body, Call
from limen.surgery.known import ACTIVATIONS, GATES
from limen.surgery.reading import Reading

PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
"""Modules that may hand on the very tensor they are given, at least in evaluation."""

POOLING = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.Upsample,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
"""Modules that keep the channels where they are."""

CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip


@dataclass(frozen=True)
class Channels:
    """How many channels a tensor has, and on which axis."""

    count: int
    dim: int


def channels_of(module: nn.Module) -> Channels | None:
    """The channels of a layer's output; nothing for a layer that has none of its own.

    >>> channels_of(nn.Linear(3, 5))
    Channels(count=5, dim=-1)
    """
    if isinstance(module, CONVOLUTIONS):
        return Channels(module.out_channels, 1)
    if isinstance(module, nn.GroupNorm):
        return Channels(module.num_channels, 1)
    if isinstance(module, NORMS):
        return Channels(int(module.num_features), 1)
    if isinstance(module, (nn.Linear, nn.Bilinear)):
        return Channels(module.out_features, -1)
    if isinstance(module, nn.LayerNorm):
        return Channels(int(module.normalized_shape[-1]), -1)
    if isinstance(module, nn.Embedding):
        return Channels(module.embedding_dim, -1)
    if isinstance(module, nn.MultiheadAttention):
        return Channels(module.embed_dim, -1)
    width = getattr(module, "nf", None)  # transformers' Conv1D, a linear layer
    return Channels(width, -1) if isinstance(width, int) else None


class Flow:
    """The structure of one model, asked about single sites."""

    def __init__(self, model: nn.Module, readings: Mapping[int, Reading]) -> None:
        self.model = model
        self.readings = readings
        self.parents: dict[int, tuple[nn.Module, str]] = {}
        for parent in model.modules():
            for name, child in parent._modules.items():
                if child is not None:
                    self.parents.setdefault(id(child), (parent, name))
        self._taken_apart: set[int] | None = None
        self._positions: dict[int, dict[str, int]] = {}
        self._layers: dict[int, dict[str, nn.Module | None]] = {}

    def before_child(self, owner: nn.Module, name: str, depth: int = 0) -> nn.Module | None:
        """The layer whose result reaches the child ``name`` of a Sequential."""
        if not isinstance(owner, nn.Sequential) or depth > 8:
            return None
        found = self._layers_before(owner)[name]
        if found is not None:
            return found
        parent = self.parents.get(id(owner))
        if parent is None:
            return None
        if isinstance(parent[0], nn.Sequential):
            return self.before_child(*parent, depth + 1)
        for body, call in self._calls_of_child(*parent):
            if call.args:
                return self.before_expression(body, call.args[0], call)
        return None

    def _layers_before(self, owner: nn.Sequential) -> Mapping[str, nn.Module | None]:
        """For each child of a Sequential, the last layer that comes before it there.

        A child may hand on what it is given, and ask for what comes before itself while the layers after it are found.
        """
        if id(owner) not in self._layers:
            layer: nn.Module | None = None
            before = self._layers[id(owner)] = dict[str, nn.Module | None]()
            for name, child in owner._modules.items():
                before[name] = layer
                layer = self.last_layer(child) or layer
        return self._layers[id(owner)]

    def before_call(self, body: Body, call: Call) -> nn.Module | None:
        """The layer whose result is the input of a call."""
        argument = call.argument
        return None if argument is None else self.before_expression(body, argument, call.node)

    def before_expression(self, body: Body, expression: ast.AST, at: ast.AST, depth: int = 0) -> nn.Module | None:
        """The layer whose result an expression hands on."""
        if depth > 12:
            return None
        if isinstance(expression, ast.Name):
            value = last_assigned(body, expression.id, at)
            if value is not None:
                return self.before_expression(body, value, value, depth + 1)
            return self._before_argument(body, expression.id, depth)
        if isinstance(expression, ast.BinOp) and not isinstance(expression.op, ast.MatMult):
            left = self.before_expression(body, expression.left, at, depth + 1)
            return left or self.before_expression(body, expression.right, at, depth + 1)
        if isinstance(expression, ast.Call):
            known = next((call for call in body.calls if call.node is expression), None)
            if known is not None and known.argument is not None and not known.child:
                return self.before_expression(body, known.argument, at, depth + 1)
            callee = body.scope.resolve(expression.func)
            if isinstance(callee, nn.Module):
                found = self.last_layer(callee)
                if found is not None:
                    return found
            keeps = isinstance(callee, nn.Module) or _keeps_channels(body, expression)
            if keeps and expression.args:
                return self.before_expression(body, expression.args[0], at, depth + 1)
        return None

    def _before_argument(self, body: Body, name: str, depth: int) -> nn.Module | None:
        """The input of a whole module comes from what stands before the module."""
        arguments = [argument.arg for argument in body.source.node.args.args]
        module = body.scope.instance
        if body.source.function.__name__ != "forward" or arguments[1:2] != [name] or module is None:
            return None
        parent = self.parents.get(id(module))
        return None if parent is None else self.before_child(*parent, depth + 1)

    def _calls_of_child(self, parent: nn.Module, name: str) -> Iterator[tuple[Body, ast.Call]]:
        child = parent._modules.get(name)
        reading = self.readings.get(id(parent))
        for body in reading.bodies if reading else ():
            for node in ast.walk(body.source.node):
                if isinstance(node, ast.Call) and child is not None and body.scope.resolve(node.func) is child:
                    yield body, node

    def last_layer(self, module: nn.Module | None, depth: int = 0) -> nn.Module | None:
        """The layer with channels that a module's result comes from; nothing for one that hands its input on."""
        if module is None or depth > 8:
            return None
        if channels_of(module) is not None:
            return module
        if isinstance(module, nn.Sequential):
            layers = (self.last_layer(child, depth + 1) for child in reversed(list(module)))
            return next((layer for layer in layers if layer is not None), None)
        for body, value in self._returns(module):
            found = self.before_expression(body, value, value, depth + 1)
            if found is not None:
                return found
        return None

    def _returns(self, module: nn.Module) -> Iterator[tuple[Body, ast.expr]]:
        reading = self.readings.get(id(module))
        for body in reading.bodies if reading else ():
            if body.source.function.__name__ == "forward":
                yield from (
                    (body, n.value) for n in ast.walk(body.source.node) if isinstance(n, ast.Return) and n.value
                )

    def at_output(self) -> set[tuple[int, str]]:
        """What computes the model's own result: (``id`` of the owner, child name), or (``id`` of a call's node, "")."""
        found: set[tuple[int, str]] = set()
        self._mark_output(self.model, found, 0)
        return found

    def _mark_output(self, module: nn.Module, found: set[tuple[int, str]], depth: int) -> None:
        if depth > 8:
            return
        if isinstance(module, nn.Sequential):
            names = [name for name, child in module._modules.items() if not isinstance(child, PASSING)]
            if names:
                found.add((id(module), names[-1]))
                self._mark_output(module._modules[names[-1]], found, depth + 1)
            return
        for body, value in self._returns(module):
            for part in value.elts if isinstance(value, ast.Tuple) else [value]:
                self._mark_expression(module, body, part, found, depth)

    def _mark_expression(
        self, module: nn.Module, body: Body, value: ast.expr, found: set[tuple[int, str]], depth: int
    ) -> None:
        if isinstance(value, ast.Name):
            assigned = last_assigned(body, value.id, value)
            if assigned is None:
                return
            value = assigned
        found.add((id(value), ""))
        if isinstance(value, ast.Call):
            callee = body.scope.resolve(value.func)
            if isinstance(callee, nn.Module):
                own = [name for name, child in module._modules.items() if child is callee]
                found.update((id(module), name) for name in own)
                self._mark_output(callee, found, depth + 1)

    def is_scaled(self, body: Body, call: Call) -> bool:
        """Whether the result is multiplied or divided, there or where the name that it gets is read next."""
        if call.within:
            return True
        statement = _statement_of(body, call.node)
        if not isinstance(statement, ast.Assign) or statement.value is not call.node:
            return False
        names = {target.id for target in statement.targets if isinstance(target, ast.Name)}
        end = _span(statement)[1]
        parents = body.source.definition.parents
        later = [
            (_span(node)[0], parents[id(node)]) for node in ast.walk(body.source.node)
            if isinstance(node, ast.Name) and node.id in names and _span(node)[0] > end
            and (isinstance(node.ctx, ast.Load) or isinstance(parents[id(node)], ast.AugAssign))
        ]  # fmt: skip
        above = min(later, key=lambda one: one[0], default=(end, None))[1]
        return isinstance(above, (ast.BinOp, ast.AugAssign)) and isinstance(above.op, (ast.Mult, ast.Div))

    def is_parted(self, body: Body, call: Call) -> bool:
        """Whether the input is one of several values that one expression gave, as a chunk of a layer's result."""
        argument = call.argument
        return isinstance(argument, ast.Name) and last_assigned(body, argument.id, call.node) is UNREAD

    def follows_another(self, body: Body, call: Call) -> bool:
        """Whether the input is another activation's result."""
        value: ast.expr | None = call.argument
        if isinstance(value, ast.Name):
            value = last_assigned(body, value.id, call.node)
        return any(other.node is value and other is not call for other in body.calls if _computes(other))

    def is_fresh(self, body: Body, call: Call) -> bool:
        """Whether nothing else can hold the tensor that a call overwrites."""
        argument = call.argument
        if isinstance(argument, (ast.Call, ast.BinOp)):
            return self._makes_new(body, argument)
        if not isinstance(argument, ast.Name):
            return False
        statement = _statement_of(body, call.node)
        if statement is None:
            return False
        rebinds = isinstance(statement, ast.Assign) and [argument.id] == [
            t.id for t in statement.targets if isinstance(t, ast.Name)
        ]
        if not (rebinds or isinstance(statement, ast.Return)):
            return False
        value = last_assigned(body, argument.id, call.node)
        if value is None or not self._makes_new(body, value) or _is_aliased(body, argument.id):
            return False
        return _is_straight(body, value, statement) and not _is_read_between(body, argument.id, value, call, statement)

    def _makes_new(self, body: Body, expression: ast.expr) -> bool:
        if isinstance(expression, ast.BinOp):
            return True
        if not isinstance(expression, ast.Call):
            return False
        callee = body.scope.resolve(expression.func)
        return isinstance(callee, nn.Module) and self.makes_new(callee)

    def makes_new(self, module: nn.Module | None) -> bool:
        """Whether a module's result is a tensor that nothing else holds."""
        if module is None or is_hooked(module):
            return False
        if isinstance(module, nn.Sequential):
            return self.is_fresh_after(module, len(module._modules))
        return type(module) in _MAKERS

    def is_fresh_after(self, owner: nn.Sequential, index: int) -> bool:
        """Whether what reaches position ``index`` of a Sequential is held by nothing else."""
        if id(owner) in self.taken_apart():
            return False
        children = list(owner._modules.values())
        for child in (children[place] for place in range(index - 1, -1, -1)):
            if isinstance(child, PASSING) and not is_hooked(child):
                continue
            return self.makes_new(child)
        parent = self.parents.get(id(owner))
        if parent is None or is_hooked(owner) or type(parent[0]).forward is not nn.Sequential.forward:
            return False
        return self.is_fresh_at(parent[0], parent[1])  # type: ignore[arg-type]

    def is_fresh_at(self, owner: nn.Sequential, name: str) -> bool:
        """Whether what reaches a child of a Sequential is held by nothing else."""
        if id(owner) not in self._positions:
            self._positions[id(owner)] = {child: index for index, child in enumerate(owner._modules)}
        return self.is_fresh_after(owner, self._positions[id(owner)][name])

    def taken_apart(self) -> set[int]:
        """The ``id`` of every Sequential that a function iterates, indexes or hands on rather than only calls."""
        if self._taken_apart is None:
            self._taken_apart = set()
            for reading in self.readings.values():
                if reading.walks_children:
                    self._taken_apart.update(id(child) for child in reading.module.children())
                for body in reading.bodies:
                    self._taken_apart.update(id(item) for item in _mentioned(body) if isinstance(item, nn.Sequential))
        return self._taken_apart


def _mentioned(body: Body) -> Iterator[object]:
    """What the names and attributes of a function stand for, but for those that are called."""
    called = {id(node.func) for node in ast.walk(body.source.node) if isinstance(node, ast.Call)}
    for node in ast.walk(body.source.node):
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)) and id(node) not in called:
            yield body.scope.resolve(node)


def _computes(call: Call) -> bool:
    """Whether a call is one of an activation rather than of a layer."""
    return not call.child or isinstance(call.original, (*ACTIVATIONS, *GATES))


def is_hooked(module: nn.Module) -> bool:
    """Whether hooks are given what goes in and comes out, and may keep it."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


_MAKERS = {*CONVOLUTIONS, *NORMS, *POOLING, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.Embedding} - {nn.Upsample}


UNREAD = ast.Constant(None)
"""Stands for the value of a name that a loop, a tuple, a ``with`` or the like binds."""

_SCOPES = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_REPEATING = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def last_assigned(body: Body, name: str, at: ast.AST) -> ast.expr | None:
    """The value last bound to a name before a place in the text; :data:`UNREAD` if no one expression gives it."""
    start = _span(at)[0]
    own = ast.Module(body.source.node.body, [])  # without its arguments, which come from outside
    bound = list(_bindings(own, name, at))
    before = [(_span(node)[1], node, value) for node, value in bound if _span(node)[1] < start]
    _, last, value = max(before, key=lambda one: one[0], default=((0, 0), None, None))
    for loop in (node for node in ast.walk(body.source.node) if isinstance(node, _REPEATING) and _holds(node, at)):
        # The round before may have bound the name further down.
        if not (last and _holds(loop, last)) and any(_holds(loop, node) for node, _ in bound):
            return UNREAD
    return value


def _bindings(parent: ast.AST, name: str, at: ast.AST) -> Iterator[tuple[ast.AST, ast.expr]]:
    """Where a name is bound, among the scopes that hold a place, and to what.

    ``x += y`` is none: it keeps the shape of ``x`` and overwrites the very tensor. There is no such ``@=``.
    """
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, _SCOPES) and not _holds(node, at):
            continue
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.AugAssign)):
            if node.value is not None:
                yield from ((node, value) for value in _assigned_values(node, name))
                yield from _bindings(ast.Expr(node.value), name, at)
            continue
        if _stores(node, name) or (isinstance(node, ast.arg) and node.arg == name):
            yield node, UNREAD
        yield from _bindings(node, name, at)


def _assigned_values(node: ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.AugAssign, name: str) -> list[ast.expr]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if isinstance(node, ast.AugAssign):
        return [UNREAD] if isinstance(node.op, ast.MatMult) and _stores(node.target, name) else []
    if any(_stores(target, name) for target in targets):
        return [node.value] if node.value is not None else []
    return [UNREAD] if any(_stores(part, name) for target in targets for part in ast.walk(target)) else []


def _stores(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)


def _span(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    at: Any = node
    first = (getattr(at, "lineno", 0), getattr(at, "col_offset", 0))
    return first, (getattr(at, "end_lineno", None) or 0, getattr(at, "end_col_offset", None) or 0)


def _holds(outer: ast.AST, inner: ast.AST) -> bool:
    """Whether one part of a text lies in another."""
    (start, end), (first, last) = _span(outer), _span(inner)
    return start <= first and last <= end


def _is_aliased(body: Body, name: str) -> bool:
    """Whether the bare name is bound to another name or kept in a collection anywhere in the function."""
    holders = (ast.Assign, ast.Tuple, ast.List, ast.Dict, ast.NamedExpr, ast.Starred)
    for node in ast.walk(body.source.node):
        values = [getattr(node, "value", None), *getattr(node, "elts", ()), *(getattr(node, "values", None) or ())]
        if isinstance(node, holders) and any(isinstance(v, ast.Name) and v.id == name for v in values):
            return True
        appends = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append"
        if appends and any(isinstance(a, ast.Name) and a.id == name for a in node.args):  # type: ignore[attr-defined]
            return True
    return False


_HARMLESS = frozenset({"shape", "size", "dim", "ndim", "dtype", "device", "numel"})
"""Attributes of a tensor that share no memory with it."""


def _is_read_between(body: Body, name: str, value: ast.expr, call: Call, statement: ast.stmt) -> bool:
    """Whether a name is used between its assignment and the end of the statement that overwrites it."""
    argument = call.argument
    own = (getattr(argument, "lineno", 0), getattr(argument, "col_offset", 0))
    start = (value.end_lineno or 0, value.end_col_offset or 0)
    end = (statement.end_lineno or 0, statement.end_col_offset or 0)
    harmless = {
        id(node.value) for node in ast.walk(body.source.node)
        if isinstance(node, ast.Attribute) and node.attr in _HARMLESS
    }  # fmt: skip
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        and start <= (node.lineno, node.col_offset) < end
        and (node.lineno, node.col_offset) != own and id(node) not in harmless
        for node in ast.walk(body.source.node)
    )  # fmt: skip


def _is_straight(body: Body, value: ast.expr, statement: ast.stmt) -> bool:
    """Whether the assignment of a value stands in the very block of a statement, so that no branch passes it by."""
    assignment = _statement_of(body, value)
    blocks = [
        getattr(node, part, None) for node in ast.walk(body.source.node) for part in ("body", "orelse", "finalbody")
    ]
    return any(
        isinstance(block, list) and any(s is assignment for s in block) and any(s is statement for s in block)
        for block in blocks
    )


def _statement_of(body: Body, node: ast.AST) -> ast.stmt | None:
    found = None
    for statement in ast.walk(body.source.node):
        if isinstance(statement, ast.stmt) and any(part is node for part in ast.walk(statement)):
            found = statement  # walk goes outside in, so the last one is the innermost
    return found


def _keeps_channels(body: Body, call: ast.Call) -> bool:
    """Whether a function call hands the channels of its first argument on: dropout, pooling, another activation."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    known = any(found.node is call for found in body.calls)
    return known or "dropout" in name or "pool" in name or name in ("checkpoint", "interpolate", "contiguous")
