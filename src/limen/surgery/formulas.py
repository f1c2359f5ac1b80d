"""Activations written out in a ``forward``, such as ``x * torch.sigmoid(x)``, recognised by what they compute.

An expression is tried only if it does nothing but arithmetic and calls of torch's own functions on one name; what is
run is the model's own syntax tree, never text.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from limen.surgery.known import NAMES, UNKNOWN
from limen.surgery.recognise import recognise
from limen.surgery.scope import Scope

TRIGGERS = NAMES | {"exp", "expm1", "erf", "where", "max", "maximum", "apply", "sigmoid", "log1p"}
"""Names without one of which an expression computes no activation."""

_METHODS = NAMES | {"exp", "expm1", "erf", "pow", "square", "mul", "add", "sub", "div", "neg", "log1p", "log", "abs"}
_PLAIN = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.keyword)
_GRAMMAR = (*_PLAIN, ast.operator, ast.unaryop, ast.cmpop, ast.expr_context)


def recognise_expression(node: ast.expr, scope: Scope) -> tuple[Callable[[Tensor], Tensor], str, nn.Module] | None:
    """The function, its variable and the known function it equals; nothing if it is not one.

    A single call of a known function is not a formula: it is found by its callee.
    """
    if not _worth_trying(node):
        return None
    fixed: dict[str, Any] = {}
    variables: set[str] = set()
    for item in ast.walk(node):
        if not isinstance(item, _GRAMMAR) or (isinstance(item, ast.Call) and not _is_pure(item, scope)):
            return None
        if isinstance(item, ast.Name):
            value = scope.resolve(item)
            if value is UNKNOWN:
                variables.add(item.id)
            else:
                fixed[item.id] = value
    if len(variables) != 1:
        return None
    variable = variables.pop()
    function = _as_function(node, variable, fixed, scope)
    found = recognise(function)
    return None if found is None or found.like is None else (function, variable, found.like)


def _worth_trying(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in ("where", "max", "maximum", "mul", "square", "pow"):
            return False
    elif not isinstance(node, ast.BinOp):
        return False
    names = {i.attr if isinstance(i, ast.Attribute) else getattr(i, "id", "") for i in ast.walk(node)}
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
