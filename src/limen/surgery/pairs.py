"""Find in a function what may be computed together: a norm and its activation, with a sum between them, and gates.

An intermediate result must be used once, by what follows it. Where it has a name, the later call is given what the
earlier one was given; so nothing in between may do more than call layers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from limen.beside.norm import BATCH
from limen.beside.pairs import FUNCTIONS
from limen.surgery.callees import described_as, is_activation
from limen.surgery.calls import Body, Call
from limen.surgery.flow import Flow, last_assigned
from limen.surgery.known import ACTIVATIONS, GATES, UNKNOWN
from limen.surgery.recognise import recognise_module
from limen.surgery.weaving import Fusion, paths_of
from limen.surgery.why_apart import no_activation, not_together

_SIMPLE = (ast.Assign, ast.AnnAssign, ast.Return, ast.Expr)
_BRANCHING = (ast.IfExp, ast.BoolOp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Await)
_REPEATING = (ast.For, ast.AsyncFor, ast.While)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_METHODS = {"relu": "limen_relu", "relu_": "limen_relu"}
"""Methods of tensors, as attributes of a class that has been fused."""
_VIEWS = ("chunk", "split", "view", "reshape", "transpose", "unsqueeze", "squeeze", "contiguous", "to", "float")


@dataclass(frozen=True)
class Found:
    """One place where parts belong together."""

    kind: str
    """``norm``, ``norm and sum``, ``sum`` or ``gate``."""
    node: ast.AST
    activation: str
    """The expression of the activation."""
    other: str
    """The expression of the norm, or of what the gate multiplies."""
    why_not: str = ""
    fusion: Fusion | None = None
    norm: nn.Module | None = None


@dataclass
class _Source:
    """Where a value comes from: a call, perhaps in an earlier statement, perhaps through modules that hand it on."""

    node: ast.Call
    stays: ast.expr
    """What the reader is given in its stead where the call is written there; the name that it reads where not."""
    between: list[ast.expr] = field(default_factory=list)
    passed: list[tuple[ast.expr, ast.expr]] = field(default_factory=list)
    apart: bool = False
    """Whether other statements lie between the call and its reader."""
    dropped: list[ast.stmt] = field(default_factory=list)
    """Statements that would run a part if there were one."""


class Finder:
    """Looks through one function."""

    def __init__(self, body: Body, flow: Flow) -> None:
        self.body = body
        self.flow = flow
        self.tree = body.source.node
        self.paths = paths_of(self.tree)
        self.parents = body.source.definition.parents
        self.blocks = dict(_blocks(self.tree))
        self.calls = {id(call.node): call for call in body.calls}
        self.used: set[int] = set()

    def find(self) -> Iterator[Found]:
        """Everything in the function, fused or not."""
        for call in self.body.calls:
            if self._is_activation(call):
                found = self._after_norm(call) or self._after_sum(call)
                if found is not None:
                    self.used.add(id(call.node))
                    yield found
        for node in ast.walk(self.tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                gate = self._gate(node)
                if gate is not None:
                    yield gate

    def _is_activation(self, call: Call) -> bool:
        """Whether a call computes an activation of its first argument, and no gate."""
        if not isinstance(call.node, ast.Call) or call.how not in ("first", "keyword", "owner"):
            return False
        held = self.callee(call)
        if isinstance(held, GATES) or isinstance(call.original, GATES):
            return False
        if not isinstance(held, nn.Module):
            return bool(described_as(held))
        known = recognise_module(held) if is_activation(held) and not isinstance(held, ACTIVATIONS) else None
        return is_activation(held) and not (known is not None and isinstance(known.like, GATES))

    def callee(self, call: Call) -> Any:
        """The module or function that a call runs."""
        assert isinstance(call.node, ast.Call)
        if call.how == "owner":
            return FUNCTION_OF.get(call.label, UNKNOWN)
        return self.body.scope.resolve(call.node.func)

    def _activation_given(self, call: Call) -> str:
        """How the method is given the activation."""
        assert isinstance(call.node, ast.Call)
        if call.how == "owner" and isinstance(call.node.func, ast.Attribute):
            return "@" + _METHODS.get(call.node.func.attr, "")
        return self.paths[id(call.node.func)]

    def _why_not(self, call: Call, after_norm: bool) -> str:
        assert isinstance(call.node, ast.Call)
        others = [*call.node.args[1:], *(k for k in call.node.keywords if k.arg not in ("inplace", call.detail))]
        if others:
            return "it is called with more than its input"
        return no_activation(self.callee(call), after_norm)

    # A norm, then an activation.

    def _after_norm(self, call: Call) -> Found | None:
        source = self._source(call.argument, call.node)
        norm = None if source is None else self.body.scope.resolve(source.node.func)
        if source is None or not is_norm(norm):
            return None
        assert isinstance(call.node, ast.Call)
        assert isinstance(norm, nn.Module)
        why = self._why_not(call, True) or not_together(norm, self.callee(call)) or self._why_moved(source)
        found = Found("norm", call.node, ast.unparse(call.node.func), ast.unparse(source.node.func), why, None, norm)
        if why:
            return found
        self.used.add(id(source.node))
        given = [source.node.func, call.node.func, source.stays, *source.between]
        places = [self.paths[id(part)] for part in given]
        places[1] = self._activation_given(call)
        lost = tuple(self.paths[id(statement)] for statement in source.dropped)
        fusion = Fusion(self.paths[id(call.node)], "limen_norm_act", tuple(places), self._passed(source), lost)
        return Found(found.kind, found.node, found.activation, found.other, "", fusion, norm)

    def _passed(self, source: _Source) -> tuple[tuple[str, str], ...]:
        return tuple((self.paths[id(place)], self.paths[id(stays)]) for place, stays in source.passed)

    def _why_moved(self, source: _Source) -> str:
        """Why a call cannot be made later, if it cannot."""
        if not source.passed:
            return ""
        if not _is_of_self(source.node.func, self.body.scope.self_name):
            return "its norm is chosen as it runs"
        if source.apart and not self._is_fresh(source.node.args[0], source.node):
            return "its norm's input may be overwritten before"
        return ""

    # A sum, then an activation.

    def _after_sum(self, call: Call) -> Found | None:
        summed = self._sum(call)
        if summed is None:
            return None
        first, second, dropped, at, in_place = summed
        for norm_first in (True, False):
            term, other = (first, second) if norm_first else (second, first)
            source = self._source(term, at)
            norm = None if source is None else self.body.scope.resolve(source.node.func)
            if source is not None and is_norm(norm):
                return self._norm_and_sum(call, source, norm, (other, dropped, norm_first, in_place))
        text = ast.unparse(call.node.func) if isinstance(call.node, ast.Call) else ""
        why = self._why_not(call, True) or "a sum and its activation take as long in one pass as apart"
        return Found("sum", call.node, text, f"{ast.unparse(first)} + {ast.unparse(second)}", why)

    def _norm_and_sum(self, call: Call, source: _Source, norm: Any, rest: tuple[Any, ...]) -> Found:
        other, dropped, norm_first, in_place = rest
        assert isinstance(call.node, ast.Call)
        why = self._why_not(call, True) or not_together(norm, self.callee(call)) or self._why_moved(source)
        if not why and not self._leaves_alone(other, source.node.args[0], source.node):
            why = "what is added may overwrite the norm's input"
        if not why and type(norm) not in BATCH:
            why = f"{type(norm).__name__} and a sum are computed one after the other"
        text, name = ast.unparse(call.node.func), ast.unparse(source.node.func)
        if why:
            return Found("norm and sum", call.node, text, name, why, None, norm)
        self.used.add(id(source.node))
        terms = [source.stays, other] if norm_first else [other, source.stays]
        places = [self.paths[id(part)] for part in (source.node.func, call.node.func, *terms)]
        places[1] = self._activation_given(call)
        places += [f"={in_place}", *(self.paths[id(part)] for part in source.between)]
        method = "limen_norm_add_act" if norm_first else "limen_other_norm_add_act"
        lost = tuple(self.paths[id(statement)] for statement in (*dropped, *source.dropped))
        fusion = Fusion(self.paths[id(call.node)], method, tuple(places), self._passed(source), lost)
        return Found("norm and sum", call.node, text, name, "", fusion, norm)

    def _sum(self, call: Call) -> tuple[ast.expr, ast.expr, list[ast.stmt], ast.AST, bool] | None:
        """The terms of the sum that an activation is given, the statements that it alone is, where it is computed."""
        argument = call.argument
        if isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.Add):
            return argument.left, argument.right, [], argument, False
        if not isinstance(argument, ast.Name):
            return None
        block, index = self._place_of(argument)
        before = block[index - 1] if index > 0 else None
        if (
            before is None
            or not self._reads_once(argument, block[index])
            or self._is_read_later(argument, block[index])
        ):
            return None
        if (
            isinstance(before, ast.AugAssign)
            and isinstance(before.op, ast.Add)
            and _is_name(before.target, argument.id)
        ):
            if any(_is_name(part, argument.id) for part in ast.walk(before.value)):
                return None
            return argument, before.value, [before], before, True
        value = before.value if isinstance(before, ast.Assign) and _targets(before) == [argument.id] else None
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            return value.left, value.right, [before], value, False
        return None

    # A gate, and what it is multiplied by.

    def _gate(self, product: ast.BinOp) -> Found | None:
        for first in (True, False):
            term, other = (product.left, product.right) if first else (product.right, product.left)
            source = self._activated(term, product)
            if source is None or self._is_fixed(other):
                continue
            return self._gated(product, source, other, first)
        return None

    def _activated(self, term: ast.expr, at: ast.AST) -> _Source | None:
        """The activation's call that a factor is the result of, and of nothing else."""
        if isinstance(term, ast.Call):
            call = self.calls.get(id(term))
            return _Source(term, term) if call and self._is_activation(call) and id(term) not in self.used else None
        if not isinstance(term, ast.Name):
            return None
        found = self._named(term, term)
        if found is None:
            return None
        value, apart = found
        call = self.calls.get(id(value))
        if call is None or id(value) in self.used or not self._is_activation(call) or call.argument is None:
            return None
        assert isinstance(value, ast.Call)
        return _Source(value, term, [], [(value, call.argument)], apart)

    def _gated(self, product: ast.BinOp, source: _Source, other: ast.expr, first: bool) -> Found:
        call = self.calls[id(source.node)]
        argument = call.argument
        assert argument is not None
        why = self._why_not(call, False)
        if not why and call.in_place and not self._is_fresh(argument, source.node):
            why = "it overwrites its input, which others may hold"
        if not why and source.passed and call.how != "owner" and not self._is_settled(source.node.func):
            why = "it is chosen as it runs"
        if not why and not (self._leaves_alone(other, argument, source.node) and self._stays(source, argument)):
            why = "what it is multiplied by may overwrite its input"
        text = ast.unparse(source.node.func)
        if why:
            return Found("gate", product, text, ast.unparse(other), why)
        self.used.add(id(source.node))
        taken = source.stays if source.passed else argument
        terms = [taken, other] if first else [other, taken]
        places = (self._activation_given(call), *(self.paths[id(term)] for term in terms))
        method = "limen_gate" if first else "limen_up_gate"
        fusion = Fusion(self.paths[id(product)], method, places, self._passed(source))
        return Found("gate", product, text, ast.unparse(other), "", fusion)

    def _is_settled(self, function: ast.expr) -> bool:
        """Whether an expression means the same a few statements later."""
        held = self.body.scope.resolve(function)
        return _is_of_self(function, self.body.scope.self_name) or (callable(held) and held in FUNCTIONS)

    def _stays(self, source: _Source, argument: ast.expr) -> bool:
        return not source.apart or self._is_fresh(argument, source.node)

    def _is_fixed(self, other: ast.expr) -> bool:
        """Whether a factor is a number or a tensor that the model holds, and no result."""
        return isinstance(self.body.scope.resolve(other), (int, float, Tensor))

    # What names stand for.

    def _source(self, expression: ast.expr | None, reader: ast.AST) -> _Source | None:
        """The call that gives a value, seen through modules that hand it on; nothing if others may use it too."""
        between: list[ast.expr] = []
        passed: list[tuple[ast.expr, ast.expr]] = []
        stays: ast.expr | None = None
        dropped: list[ast.stmt] = []
        apart, value = False, expression
        while value is not None:
            start, value = value, self._handed(value, between)
            inner = _only_argument(value)
            if inner is not None and isinstance(value, ast.Call):
                passed += [] if stays is None else [(start, inner)]
                return _Source(value, inner if stays is None else stays, between[::-1], passed, apart, dropped)
            at = reader if stays is None else value
            named = self._named(value, at, between, dropped) if isinstance(value, ast.Name) else None
            if named is None:
                return None
            passed += [(start, value)] if stays is not None and start is not value else []
            stays = stays or value
            value, apart = named[0], apart or named[1]
        return None

    def _handed(self, value: ast.expr, between: list[ast.expr]) -> ast.expr:
        """What modules are given that hand their input on; these are noted."""
        while isinstance(value, ast.Call) and self._hands_on(value):
            between.append(value.func)
            value = value.args[0]
        return value

    def _hands_on(self, call: ast.Call) -> bool:
        one = len(call.args) == 1 and not call.keywords
        return one and type(self.body.scope.resolve(call.func)) is nn.Identity and _is_of_self(
            call.func, self.body.scope.self_name
        )  # fmt: skip

    def _named(
        self,
        name: ast.Name,
        reader: ast.AST,
        between: list[ast.expr] | None = None,
        dropped: list[ast.stmt] | None = None,
    ) -> tuple[ast.expr, bool] | None:
        """The call that a name was bound to just before, if it is read here alone; whether statements lie between.

        Parts that the object may have and lacks, ``if self.drop is not None: x = self.drop(x)``, go ``between``.
        """
        block, index = self._place_of(reader)
        if index < 0 or not self._reads_once(name, block[index]) or self._is_read_later(name, block[index]):
            return None
        for place in range(index - 1, -1, -1):
            statement = block[place]
            if isinstance(statement, ast.Assign) and _targets(statement) == [name.id]:
                return (statement.value, place < index - 1) if isinstance(statement.value, ast.Call) else None
            part = self._missing_part(statement, name.id)
            if part is not None and between is not None and dropped is not None:
                between.append(part)
                dropped.append(statement)
                continue
            if _mentions(statement, name.id) or not self._is_harmless(statement):
                return None
        return None

    def _missing_part(self, statement: ast.stmt, name: str) -> ast.expr | None:
        """The part of the object that a statement would hand a name through, if there were one."""
        if not isinstance(statement, ast.If) or len(statement.body) != 1 or statement.orelse:
            return None
        (inner,), test = statement.body, statement.test
        if not isinstance(inner, ast.Assign) or _targets(inner) != [name] or not isinstance(inner.value, ast.Call):
            return None
        part, given = inner.value.func, _only_argument(inner.value)
        asked = test.left if isinstance(test, ast.Compare) and ast.unparse(test).endswith(" is not None") else test
        same = ast.dump(asked) == ast.dump(part) and _is_of_self(part, self.body.scope.self_name)
        lacking = self.body.scope.resolve(part) is None
        return part if same and lacking and given is not None and _is_name(given, name) else None

    def _place_of(self, node: ast.AST) -> tuple[list[ast.stmt], int]:
        """The block and the place in it of the simple statement that a node lies in, unless only some runs reach it."""
        above: ast.AST | None = node
        while above is not None and not isinstance(above, ast.stmt):
            if isinstance(above, _BRANCHING):
                return [], -1
            above = self.parents.get(id(above))
        if above is None or not isinstance(above, (*_SIMPLE, ast.AugAssign)):
            return [], -1
        return self.blocks.get(id(above), ([], -1))

    def _reads_once(self, name: ast.Name, statement: ast.stmt) -> bool:
        """An augmented assignment reads what it binds."""
        own = statement.target if isinstance(statement, ast.AugAssign) else None
        reads = [
            part
            for part in ast.walk(statement)
            if isinstance(part, ast.Name) and part.id == name.id and (isinstance(part.ctx, ast.Load) or part is own)
        ]
        return len(reads) == 1

    def _is_read_later(self, name: ast.Name, statement: ast.stmt) -> bool:
        """Whether anything but the statement may still read what the name holds there."""
        if self._is_of_inner_scope(name.id):
            return True
        if isinstance(statement, ast.Assign) and _targets(statement) == [name.id]:
            return False
        if isinstance(statement, ast.Return) or (
            isinstance(statement, ast.AugAssign) and _is_name(statement.target, name.id)
        ):
            return False
        if any(isinstance(node, _REPEATING) and _mentions(node, name.id) for node in ast.walk(self.tree)):
            return True
        end = (statement.end_lineno or 0, statement.end_col_offset or 0)
        reads = (part for part in ast.walk(self.tree) if isinstance(part, ast.Name) and part.id == name.id)
        return any((part.lineno, part.col_offset) > end for part in reads)

    def _is_of_inner_scope(self, name: str) -> bool:
        inner = (node for node in ast.walk(self.tree) if isinstance(node, _SCOPES) and node is not self.tree)
        declared = (node for node in ast.walk(self.tree) if isinstance(node, (ast.Global, ast.Nonlocal)))
        asked = any(_is_name(node, "locals") for node in ast.walk(self.tree))
        return asked or any(_mentions(node, name) for node in inner) or any(name in node.names for node in declared)

    # What may be done in between.

    def _is_harmless(self, statement: ast.stmt) -> bool:
        """Whether a statement does no more than call layers, and bind what they give to names."""
        if isinstance(statement, ast.If):
            inner = [*statement.body, *statement.orelse]
            return self._calls_layers(statement.test) and all(self._is_harmless(one) for one in inner)
        if isinstance(statement, ast.Pass):
            return True
        named = isinstance(statement, ast.Assign) and all(_is_plain_target(target) for target in statement.targets)
        return named and self._calls_layers(statement.value)  # type: ignore[attr-defined]

    def _calls_layers(self, expression: ast.expr) -> bool:
        calls = (node for node in ast.walk(expression) if isinstance(node, ast.Call))
        refused = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom, ast.Lambda)
        return all(self._is_layer(call) for call in calls) and not any(
            isinstance(node, refused) for node in ast.walk(expression)
        )

    def _is_layer(self, call: ast.Call) -> bool:
        """Whether a call is of a module that overwrites nothing, or takes a view."""
        callee = self.body.scope.resolve(call.func)
        if isinstance(callee, nn.Module):
            return not any(getattr(module, "inplace", False) for module in callee.modules())
        if callee is None:
            return True  # a part that this object lacks, and never calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in _VIEWS:
            return True
        return self._is_own_method(call.func)

    def _is_own_method(self, function: ast.expr) -> bool:
        """Whether it is a method of the object whose source calls only layers, and functions of torch's by value."""
        lead = next((lead for node, lead in self.body.leads if node is function), None)
        if lead is None or not _is_of_self(function, self.body.scope.self_name):
            return False
        reading = self.flow.readings.get(id(self.body.scope.instance))
        other = next((body for body in (reading.bodies if reading else ()) if body.origin == lead), None)
        return other is not None and other is not self.body and not any(map(_overwrites, ast.walk(other.source.node)))

    def _leaves_alone(self, other: ast.expr, argument: ast.expr, at: ast.AST) -> bool:
        """Whether computing one expression cannot change what another, computed before it, gave."""
        if self._is_fresh(argument, at):
            return True
        return self._calls_layers(other)

    def _is_fresh(self, argument: ast.expr, at: ast.AST) -> bool:
        """Whether nothing but the reader holds the value of an expression."""
        if isinstance(argument, ast.Name):
            assigned = last_assigned(self.body, argument.id, at)
            statement = self._statement(at)
            again = isinstance(statement, ast.Assign) and _targets(statement) == [argument.id]
            return again and assigned is not None and self._makes_new(assigned)
        return self._makes_new(argument)

    def _makes_new(self, value: ast.expr) -> bool:
        if isinstance(value, ast.BinOp):
            return True
        callee = self.body.scope.resolve(value.func) if isinstance(value, ast.Call) else None
        return isinstance(callee, nn.Module) and self.flow.makes_new(callee)

    def _statement(self, node: ast.AST) -> ast.AST | None:
        above: ast.AST | None = node
        while above is not None and not isinstance(above, ast.stmt):
            above = self.parents.get(id(above))
        return above


FUNCTION_OF = {name: function for function in FUNCTIONS if (name := function.__name__) == "relu"}
"""What a method of a tensor computes, by its name."""


def _only_argument(value: ast.expr) -> ast.expr | None:
    """The one thing that a call is given, if it is given one."""
    one = isinstance(value, ast.Call) and len(value.args) == 1 and not value.keywords
    return value.args[0] if one and not isinstance(value.args[0], ast.Starred) else None  # type: ignore[attr-defined]


def is_norm(module: Any) -> bool:
    """Whether a module is a norm of any kind."""
    kinds = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
    return isinstance(module, kinds)


def _overwrites(node: ast.AST) -> bool:
    """Whether a part of a text may change a tensor where it lies, or the state of the process."""
    if isinstance(node, (ast.AugAssign, ast.Delete, ast.Global, ast.Nonlocal, ast.With, ast.Await)):
        return True
    if isinstance(node, ast.Assign):
        return not all(_is_plain_target(target) for target in node.targets)
    name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
    inplace = isinstance(node, ast.keyword) and node.arg in ("inplace", "out")
    return inplace or name.endswith("_") or "set" in name or name in ("train", "eval")


def _is_plain_target(target: ast.expr) -> bool:
    if isinstance(target, (ast.Tuple, ast.List)):
        return all(_is_plain_target(part) for part in target.elts)
    return isinstance(target, ast.Name)


def _is_of_self(expression: ast.expr, self_name: str) -> bool:
    """Whether it is an attribute of the object, or of one of its attributes."""
    while isinstance(expression, ast.Attribute):
        expression = expression.value
    return bool(self_name) and _is_name(expression, self_name)


def _blocks(tree: ast.AST) -> Iterator[tuple[int, tuple[list[ast.stmt], int]]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield from ((id(statement), (block, index)) for index, statement in enumerate(block))


def _targets(statement: ast.Assign) -> list[str]:
    """The one name that an assignment binds; nothing for any other."""
    target = statement.targets[0]
    return [target.id] if len(statement.targets) == 1 and isinstance(target, ast.Name) else []


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _mentions(node: ast.AST, name: str) -> bool:
    return any(_is_name(part, name) for part in ast.walk(node))
