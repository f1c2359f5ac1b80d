"""Activations written out in a ``forward``, such as ``x * torch.sigmoid(x)``, recognised by what they compute.

An expression is tried only if it does nothing but arithmetic and calls of torch's own functions on one name; what is
run is the model's own syntax tree, never text.
"""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from limen.surgery.binding import part_at
from limen.surgery.known import NAMES, UNKNOWN
from limen.surgery.recognise import recognise
from limen.surgery.scope import Scope

TRIGGERS = NAMES | {"exp", "expm1", "erf", "where", "max", "maximum", "apply", "sigmoid", "log1p"}
"""Names without one of which an expression computes no activation."""

_METHODS = NAMES | {"exp", "expm1", "erf", "pow", "square", "mul", "add", "sub", "div", "neg", "log1p", "log", "abs"}
_METHODS |= {"clamp_max", "minimum", "maximum"}
_JOINING = ("where", "max", "maximum", "mul", "square", "pow")
_CAPPING = ("clamp", "clip", "clamp_max", "min", "minimum")
_CEILINGS = (nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid)
_PLAIN = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.keyword)
_GRAMMAR = (*_PLAIN, ast.operator, ast.unaryop, ast.cmpop, ast.expr_context)


@dataclass(frozen=True)
class Formula:
    """An expression that computes a known function of one thing in it."""

    function: Callable[[Tensor], Tensor]
    like: nn.Module
    variable: str
    """The name it is a function of; nothing where that is an expression."""
    path: str
    """Where that expression stands."""


def recognise_expression(node: ast.expr, scope: Scope) -> Formula | None:
    """What an expression computes; nothing if that is no known function.

    A single call of a known function is not a formula: it is found by its callee.
    """
    if not _worth_trying(node):
        return None
    parts = list(_parts(node, scope))
    fixed: dict[str, Any] = {}
    variables: set[str] = set()
    inner = [(path, part) for path, part in parts if not isinstance(part, ast.Name)]
    for part in (part for _, part in parts if isinstance(part, ast.Name)):
        value = scope.resolve(part)
        if value is UNKNOWN:
            variables.add(part.id)
        else:
            fixed[part.id] = value
    if len(variables) + len(inner) != 1 or any(path == "" for path, _ in inner) or _learns(node, scope):
        return None
    path = inner[0][0] if inner else ""
    variable = "limen_x" if inner else variables.pop()
    function = _as_function(_with_name(node, path, variable) if inner else node, variable, fixed, scope)
    found = recognise(function)
    like = None if found is None else found.like
    if like is not None and _has_ceiling(node, scope):
        like = _with_ceiling(like, function)
    return None if like is None else Formula(function, like, "" if inner else variable, path)


def _parts(node: ast.AST, scope: Scope, path: str = "") -> Iterator[tuple[str, ast.expr]]:
    """The names in an expression, and the largest parts that are more than arithmetic on names."""
    arithmetic = isinstance(node, _GRAMMAR) and not (isinstance(node, ast.Call) and not _is_pure(node, scope))
    if isinstance(node, ast.expr) and (isinstance(node, ast.Name) or not arithmetic):
        yield path, node
    else:
        for name, value in ast.iter_fields(node):
            for index, part in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(part, (ast.expr, ast.keyword)):
                    step = name if index is None else f"{name}.{index}"
                    yield from _parts(part, scope, f"{path}.{step}".lstrip("."))


def _learns(node: ast.expr, scope: Scope) -> bool:
    """Whether a parameter takes part, whose value now is not what the expression will compute."""
    return any(
        isinstance(part, (ast.Attribute, ast.Name)) and isinstance(scope.resolve(part), nn.Parameter)
        for part in ast.walk(node)
    )


def _with_name(node: ast.expr, path: str, name: str) -> ast.expr:
    """The expression with a name for one part of it."""
    changed = copy.deepcopy(node)
    above, _, last = path.rpartition(".")
    owner: Any = part_at(changed, above) if above else changed
    put = ast.copy_location(ast.Name(name, ast.Load()), part_at(node, path))
    if last.isdigit():
        owner[int(last)] = put
    else:
        setattr(owner, last, put)
    return changed


def _with_ceiling(like: nn.Module, function: Callable[[Tensor], Tensor]) -> nn.Module | None:
    """The known function that is bounded from above, too; functions are compared up to 6 only."""
    if isinstance(like, nn.ReLU):
        return nn.ReLU6() if float(function(torch.tensor([50.0]))) == 6 else None
    return like if isinstance(like, _CEILINGS) else None


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _has_ceiling(node: ast.expr, scope: Scope) -> bool:
    """Whether a value is bounded from above, perhaps further up than functions are compared."""
    for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
        name = _called(call)
        bounds = len(call.args) > (1 if scope.resolve(call.func) is UNKNOWN else 2)
        if name in ("min", "minimum", "clamp_max") or any(keyword.arg == "max" for keyword in call.keywords):
            return True
        if name in ("clamp", "clip") and bounds:
            return True
    return False


def _worth_trying(node: ast.expr) -> bool:
    name = _called(node)
    if isinstance(node, ast.Call):
        if name not in (*_JOINING, *_CAPPING):
            return False
    elif not isinstance(node, ast.BinOp):
        return False
    parts = list(ast.walk(node))
    if isinstance(node, ast.Call) and name in _CAPPING:
        parts = [part for part in parts if part is not node.func]
    names = {i.attr if isinstance(i, ast.Attribute) else getattr(i, "id", "") for i in parts}
    return bool(names & TRIGGERS)


def _is_pure(call: ast.Call, scope: Scope) -> bool:
    """Whether a call is torch's or math's own, or a harmless method of a tensor."""
    callee = scope.resolve(call.func)
    if callee is UNKNOWN:
        return isinstance(call.func, ast.Attribute) and call.func.attr.rstrip("_") == call.func.attr in _METHODS
    module = getattr(callee, "__module__", None) or ""
    builtin_of_torch = getattr(torch, getattr(callee, "__name__", ""), None) is callee
    return module in ("math", "torch.nn.functional", "torch._C._nn", "torch") or builtin_of_torch or callee in vars(
        math).values()  # fmt: skip


def _as_function(node: ast.expr, variable: str, fixed: dict[str, Any], scope: Scope) -> Callable[[Tensor], Tensor]:
    arguments = ast.arguments([], [ast.arg(variable)], None, [], [], None, [])
    wrapped = ast.Expression(ast.copy_location(ast.Lambda(arguments, node), node))
    code = compile(ast.fix_missing_locations(wrapped), scope.source.file, "eval", dont_inherit=True)
    inner = next(constant for constant in code.co_consts if isinstance(constant, CodeType))
    return FunctionType(inner, fixed, "formula")
