"""Which calls in a module's functions can run in one pass, and which are in branches that rule each other out.

Re-parameterised blocks call one activation before they are fused and, in another branch, after: that is one place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from limen.surgery.calls import Body, Call
from limen.surgery.reading import Reading

Ran = frozenset[int]
"""Calls, by ``id``, that may have run before."""

_MOST_WALKS = 200
"""Functions walked for one module; a helper that is called at two places is walked twice."""

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Order:
    """The calls of one module's functions that may follow one another in one pass."""

    def __init__(self, reading: Reading) -> None:
        self.bodies = {body.origin: body for body in reading.bodies}
        self.follows: set[tuple[int, int]] = set()
        self.walks = 0
        seen: set[int] = set()
        passes = [_Walk(self, seen).function(body, frozenset()) for body in reading.bodies if id(body) not in seen]
        for index, first in enumerate(passes):
            for second in passes[index + 1 :]:
                self._pair(first - second, second)
                self._pair(second - first, first)
        self.met = frozenset[int]().union(*passes)

    def rules_out(self, first: Call, second: Call) -> bool:
        """Whether only one of two calls can run in one pass."""
        known = {id(first), id(second)} <= self.met and self.walks <= _MOST_WALKS
        return known and (id(first), id(second)) not in self.follows

    def _pair(self, some: Ran, others: Ran) -> None:
        self.follows.update(pair for a in some for b in others for pair in ((a, b), (b, a)))

    def note(self, call: int, ran: Ran) -> Ran:
        """A call runs after those."""
        self._pair(ran, frozenset([call]))
        return ran | {call}


@dataclass
class _Exits:
    """What may have run where a function or a loop is left."""

    returned: list[Ran] = field(default_factory=list)
    raised: list[Ran] = field(default_factory=list)
    broken: list[Ran] = field(default_factory=list)
    continued: list[Ran] = field(default_factory=list)


class _Walk:
    """Goes through a function as it would run; ``None`` stands for what cannot be reached."""

    def __init__(self, order: Order, seen: set[int]) -> None:
        self.order = order
        self.seen = seen
        self.active: list[Body] = []
        self.exits = _Exits()
        self.calls: dict[int, int] = {}
        self.leads: dict[int, Any] = {}

    def function(self, body: Body, ran: Ran) -> Ran:
        """Another function of the module."""
        self.seen.add(id(body))
        self.order.walks += 1
        own = frozenset(id(call) for call in body.calls)
        if body in self.active or self.order.walks > _MOST_WALKS:
            self.order._pair(own, own | ran)
            return ran | own
        self.active.append(body)
        self.calls.update({id(call.node): id(call) for call in body.calls})
        self.leads.update({id(node): lead for node, lead in body.leads})
        out = self.inner(body.source.node.body, ran)
        self.active.pop()
        return out

    def inner(self, statements: Sequence[ast.stmt], ran: Ran) -> Ran:
        """The body of a function, from which ``return`` leads out."""
        outer, self.exits = self.exits, _Exits()
        out = _either(self.block(statements, ran), *self.exits.returned)
        self.exits = outer
        return ran if out is None else out

    def block(self, statements: Sequence[ast.stmt], ran: Ran | None) -> Ran | None:
        """Statements one after another."""
        for statement in statements:
            if ran is None:
                return None
            ran = self.statement(statement, ran)
        return ran

    def statement(self, node: ast.stmt, ran: Ran) -> Ran | None:
        """One statement, of which some lead elsewhere."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return self.inner(node.body, ran)
        if isinstance(node, ast.If):
            ran = self.expression(node.test, ran)
            return _either(self.block(node.body, ran), self.block(node.orelse, ran))
        if isinstance(node, _LOOPS):
            return self.loop(node, ran)
        if isinstance(node, ast.Match):
            return self.match(node, ran)
        if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
            return self.attempt(node, ran)
        if isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                ran = self.expression(item.context_expr, ran)
            return self.block(node.body, ran)
        return self.leave(node, self.parts(node, ran))

    def leave(self, node: ast.stmt, ran: Ran) -> Ran | None:
        """A simple statement, after which the next one runs unless it leads out."""
        ways: dict[type[ast.stmt], list[Ran]] = {
            ast.Return: self.exits.returned,
            ast.Raise: self.exits.raised,
            ast.Break: self.exits.broken,
            ast.Continue: self.exits.continued,
        }
        if type(node) not in ways:
            return ran
        ways[type(node)].append(ran)
        return None

    def loop(self, node: Any, ran: Ran) -> Ran | None:
        """What ran in one round has run before the next."""
        ran = self.expression(node.test if isinstance(node, ast.While) else node.iter, ran)
        before, self.exits.broken, self.exits.continued = (self.exits.broken, self.exits.continued), [], []
        again = ran
        for _ in range(2):
            again = _either(again, self.block(node.body, again), *self.exits.continued) or again
        left = self.exits.broken
        self.exits.broken, self.exits.continued = before
        return _either(self.block(node.orelse, again), *left)

    def match(self, node: ast.Match, ran: Ran) -> Ran | None:
        """One case runs, after the guards of those before it."""
        ran = self.expression(node.subject, ran)
        ends: list[Ran | None] = []
        for case in node.cases:
            ran = self.expression(case.guard, ran) if case.guard is not None else ran
            ends.append(self.block(case.body, ran))
        return _either(ran, *ends)

    def attempt(self, node: Any, ran: Ran) -> Ran | None:
        """An error is thought to come before anything has run, unless the text raises it: what failed gave nothing."""
        raised, self.exits.raised = self.exits.raised, []
        out = self.block(node.orelse, self.block(node.body, ran))
        failed = _either(ran, *self.exits.raised)
        self.exits.raised = raised
        out = _either(out, *(self.block(handler.body, failed) for handler in node.handlers))
        last = self.block(node.finalbody, _either(ran, out, *self.exits.returned))
        return None if out is None else last

    def expression(self, node: ast.expr, ran: Ran) -> Ran:
        """Everything in an expression runs, but for one side of a conditional one."""
        if isinstance(node, ast.IfExp):
            ran = self.expression(node.test, ran)
            return self.expression(node.body, ran) | self.expression(node.orelse, ran)
        for _ in range(2 if isinstance(node, _COMPREHENSIONS) else 1):
            ran = self.parts(node, ran)
        lead: Any = self.order.bodies.get(self.leads[id(node)]) if id(node) in self.leads else None
        if lead is not None:
            ran = self.function(lead, ran)
        return self.order.note(self.calls[id(node)], ran) if id(node) in self.calls else ran

    def parts(self, node: ast.AST, ran: Ran) -> Ran:
        """The expressions directly in a node."""
        for part in _expressions(node):
            ran = self.expression(part, ran)
        return ran


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif not isinstance(child, ast.stmt):
            yield from _expressions(child)


def _either(*ends: Ran | None) -> Ran | None:
    """What may have run after one of several ways; nothing if none of them leads on."""
    reached = [end for end in ends if end is not None]
    return frozenset[int]().union(*reached) if reached else None
