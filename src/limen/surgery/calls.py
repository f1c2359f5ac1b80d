"""Find the activation calls in what the ``forward`` of a module runs: its methods, and functions it calls.

A call is found by what its callee stands for (``F.relu``, an alias, ``partial``, ``getattr(F, "relu")``, a method of a
tensor, a child module, a helper that computes an activation), or by what a written-out formula computes.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional, FXFloatFunctional, QFunctional

from limen.surgery import formulas
from limen.surgery.binding import part_at
from limen.surgery.callees import (
    FormulaModule,
    as_module,
    code_names_activation,
    described_as,
    is_activation,
    is_of_the_user,
    is_table,
    names_in,
)
from limen.surgery.known import (
    ACTIVATIONS,
    GATES,
    METHODS,
    NAMES,
    UNKNOWN,
    all_known,
    equivalent,
    is_in_place,
)
from limen.surgery.scope import Method, Scope, is_super, plain_mro
from limen.surgery.source import Source

_BOUNDS = ("clamp", "clip")

WALKS_CHILDREN = frozenset({"children", "named_children", "modules", "named_modules", "_modules"})
"""Attributes by which a ``forward`` would meet a module that surgery registers beside the others."""


@dataclass(frozen=True)
class Call:
    """One activation in a function's source."""

    node: ast.expr
    """What a rewrite replaces."""
    how: str
    """Where the input is: ``first`` argument, ``keyword``, ``owner`` of a method, ``name``; or a ``reference``."""
    original: nn.Module
    """Computes what stands here."""
    label: str
    detail: str = ""
    """The keyword or the name."""
    in_place: bool = False
    child: str = ""
    """The owner's attribute that is called, if it is one."""
    extra: bool = False
    """Whether the call passes more than the input."""
    exact: bool = True
    """Whether every argument is known before running."""
    within: str = ""
    """The arithmetic that goes on with the result, as ``F.relu(x) ** 2``."""
    guard: bool = False
    """Whether it is spelled as a bound on a value, as ``clamp(min=0)``, which may keep indices or roots valid."""

    @property
    def argument(self) -> ast.expr | None:
        """The expression of the input."""
        if self.how == "inner":
            return part_at(self.node, self.detail)  # type: ignore[no-any-return]
        if isinstance(self.node, ast.Call):
            if self.how == "first":
                return self.node.args[0]
            if self.how == "keyword":
                return next(k.value for k in self.node.keywords if k.arg == self.detail)
            if self.how == "owner" and isinstance(self.node.func, ast.Attribute):
                return self.node.func.value
        return ast.copy_location(ast.Name(self.detail, ast.Load()), self.node) if self.how == "name" else None


@dataclass
class Body:
    """One function that a forward runs."""

    scope: Scope
    origin: Method | FunctionType
    held: Container[int] = ()
    """The ``id`` of everything that the model's modules hold."""
    calls: list[Call] = field(default_factory=list)
    leads: list[tuple[ast.expr, Method | FunctionType]] = field(default_factory=list)
    """Other functions it refers to, by node."""
    elsewhere: list[tuple[nn.Module, str]] = field(default_factory=list)
    """Methods of other modules that it calls, beside their ``forward``."""
    unreached: list[tuple[ast.AST, str]] = field(default_factory=list)
    walks_children: bool = False
    calls_by_key: bool = False
    """Whether it takes an attribute of the instance by a name that only running tells."""

    @property
    def source(self) -> Source:
        """The function's source."""
        return self.scope.source

    @property
    def size(self) -> int:
        """How much was found so far."""
        return len(self.calls) + len(self.leads) + len(self.elsewhere) + len(self.unreached)

    def location(self, node: ast.AST) -> str:
        """``file:line``."""
        return f"{self.source.file}:{getattr(node, 'lineno', 0)}"


def find_calls(body: Body, barren: set[int]) -> None:
    """Fill in what the body's function calls; ``barren`` are nodes where nothing is found, here extended."""
    finder = _Finder(body, barren)
    for statement in body.source.node.body:
        finder.visit(statement)


class _Finder(ast.NodeVisitor):
    def __init__(self, body: Body, barren: set[int]) -> None:
        self.body = body
        self.scope = body.scope
        self.barren = barren
        self.children = body.source.definition.children
        self.of_instance = body.source.definition.of_instance

    def visit(self, node: ast.AST) -> None:
        key = id(node)
        if key in self.barren or (isinstance(node, ast.Name) and node.id == self.scope.self_name):
            return
        before = self.body.size
        super().visit(node)
        if key not in self.of_instance and self.body.size == before:
            self.barren.add(key)

    def generic_visit(self, node: ast.AST) -> None:
        for child in self.children[id(node)]:
            self.visit(child)

    def visit_Call(self, node: ast.Call) -> None:
        if self._formula(node):
            return
        found = self._activation_call(node)
        if found is None:
            if self._asks_only(node):
                return
            self._lead(node.func)
            self.generic_visit(node)
            return
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.visit(argument)
        if isinstance(node.func, ast.Attribute) and found.how == "owner":
            self.visit(node.func.value)
        self.body.calls.append(replace(found, within=self._within(node)))

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not self._formula(node):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """An alias is followed to its calls; the assignment itself runs nothing."""
        target = node.targets[0]
        alias = isinstance(target, ast.Name) and self.scope.bindings.get(target.id) is node.value
        if not (alias and self._is_activation(node.value)):
            self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """``act is F.relu`` asks which function it is and runs none."""
        for side in (node.left, *node.comparators):
            if isinstance(side, ast.Constant) or isinstance(self.scope.resolve(side), _PLAIN_VALUES):
                continue
            named = isinstance(side, (ast.Name, ast.Attribute))
            if not (named and (self._is_activation(side) or is_table(self.scope.resolve(side)))):
                self.visit(side)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """An item of a table: by a constant it is found by what it is, by any other key it is named."""
        held = self.scope.resolve(node.value)
        if isinstance(node.ctx, ast.Load) and is_table(held) and not self._is_of_self(node):
            if self.scope.resolve(node) is UNKNOWN:
                self.body.unreached.append((node, f"{ast.unparse(node)}, chosen by a key that only running tells"))
            elif not self._reference(node):
                self._lead(node)
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not self._reference(node) and isinstance(node.ctx, ast.Load) and is_table(self.scope.resolve(node)):
            self.body.unreached.append((node, f"{node.id}, a table of activations, gone through as it runs"))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self.scope.self_name and isinstance(node.value, ast.Name) and node.value.id == self.scope.self_name:
            self.body.walks_children |= node.attr in WALKS_CHILDREN
            if isinstance(self.scope.resolve(node), _PLAIN_VALUES):
                return  # most attributes of most layers, which cost a third of a reading
        if not self._reference(node):
            self._lead(node)
            if not self._is_activation(node.value):
                self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def _reference(self, node: ast.Name | ast.Attribute | ast.Subscript) -> bool:
        """A function that is handed on rather than called here."""
        if not isinstance(node.ctx, ast.Load) or self._own_child(node):
            return False
        foreign = self._foreign(node)
        if foreign is not None:
            in_place = bool(getattr(foreign, "inplace", False))
            self.body.calls.append(Call(node, "reference", foreign, _label(node, foreign), in_place=in_place))
            return True
        described = described_as(self.scope.resolve(node))
        module = equivalent(*described) if described else None
        if module is None or described is None:
            return False
        name, values, named = described
        in_place = is_in_place(name, values, named)
        self.body.calls.append(Call(node, "reference", module, name.rstrip("_"), in_place=in_place, exact=False))
        return True

    def _is_activation(self, expression: ast.expr) -> bool:
        """Whether an expression is an activation itself: a function, or a module that the model does not hold."""
        return bool(described_as(self.scope.resolve(expression))) or self._foreign(expression) is not None

    def _foreign(self, expression: ast.expr) -> nn.Module | None:
        """The activation module that an expression stands for, if it lies outside the model, as in its globals."""
        value = self.scope.resolve(expression)
        outside = isinstance(value, nn.Module) and id(value) not in self.body.held
        return value if outside and is_activation(value) else None

    def _asks_only(self, node: ast.Call) -> bool:
        """Whether a call asks something of an activation and does not run it; notes look-ups by a computed name."""
        callee = self.scope.resolve(node.func)
        if callee is getattr and len(node.args) > 1 and self.scope.resolve(node.args[1]) is UNKNOWN:
            owner = self.scope.resolve(node.args[0])
            self.body.calls_by_key |= owner is not None and owner is self.scope.instance
            if owner is torch.nn.functional:
                why = f"{ast.unparse(node)}, a function by a name that only running tells"
                self.body.unreached.append((node, why))
        asking = any(callee is one for one in _ASKING)
        return asking and bool(node.args) and self._is_activation(node.args[0])

    def _formula(self, node: ast.expr) -> bool:
        found = formulas.recognise_expression(node, self.scope)
        if found is None:
            return False
        label = type(found.like).__name__.lower()
        module = FormulaModule(found.function, found.like, ast.unparse(node))
        guard = isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("max", "maximum")
        how, detail = ("name", found.variable) if found.variable else ("inner", found.path)
        self.body.calls.append(Call(node, how, module, label, detail, within=self._within(node), guard=guard))
        if found.path:
            self.visit(part_at(node, found.path))
        return True

    def _within(self, node: ast.expr) -> str:
        """The expression that multiplies, raises or bounds a result where it is computed."""
        parents, whole, last = self.body.source.definition.parents, "", node
        while True:
            above = parents.get(id(last))
            if isinstance(above, ast.Attribute):
                name = above.attr.rstrip("_")
                owner, above = above, parents.get(id(above))
                goes_on = isinstance(above, ast.Call) and above.func is owner and name in _GOING_ON
            elif isinstance(above, ast.Call):
                name = getattr(above.func, "attr", getattr(above.func, "id", ""))
                goes_on = above.func is not last and name in _GOING_ON
            else:
                goes_on = isinstance(above, (ast.BinOp, ast.UnaryOp))
            if not goes_on or not isinstance(above, ast.expr):
                return whole
            last = above
            if not (isinstance(above, ast.UnaryOp) or isinstance(getattr(above, "op", None), (ast.Add, ast.Sub))):
                whole = ast.unparse(above)

    def _activation_call(self, node: ast.Call) -> Call | None:
        child = self._own_child(node.func)
        if child:
            return self._child_call(node, child)
        callee = self.scope.resolve(node.func)
        described = described_as(callee)
        if isinstance(node.func, ast.Subscript) and self._is_of_self(node.func):
            return None  # what the module's list or dictionary holds is replaced there
        if described:
            return self._function_call(node, *described)
        foreign = self._foreign(node.func)
        if foreign is not None:
            return self._foreign_call(node, foreign)
        if _is_quantised_sum(node.func, callee):
            return self._add_relu(node)
        if callee is UNKNOWN and isinstance(node.func, ast.Call):
            return self._made_here(node, node.func)
        if self._is_tensor_method(node.func):
            return self._method_call(node)
        return self._helper_call(node, callee)

    def _own_child(self, function: ast.expr) -> str:
        """The name of the attribute of ``self`` that is called, by that name or by an alias of it."""
        while isinstance(function, ast.Name):
            bound = self.scope.bindings.get(function.id)
            if not isinstance(bound, ast.expr):
                return ""
            function = bound
        owned = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
        instance = self.scope.instance
        if not owned or instance is None or function.value.id != self.scope.self_name:  # type: ignore[attr-defined]
            return ""
        name: str = function.attr  # type: ignore[attr-defined]
        held = instance._modules.get(name, instance.__dict__.get(name))
        return name if isinstance(held, nn.Module) or callable(held) else ""

    def _is_of_self(self, expression: ast.expr) -> bool:
        """Whether it lies in what the instance itself holds, and not its class."""
        while isinstance(expression, (ast.Subscript, ast.Attribute)):
            inner = expression.value
            if isinstance(inner, ast.Name) and inner.id == self.scope.self_name and self.scope.self_name:
                of_instance = isinstance(expression, ast.Attribute) and self.scope.instance is not None
                name = expression.attr if isinstance(expression, ast.Attribute) else ""
                return of_instance and (name in vars(self.scope.instance) or name in self.scope.instance._modules)  # type: ignore[union-attr]
            expression = inner
        bound = self.scope.bindings.get(expression.id) if isinstance(expression, ast.Name) else None
        return isinstance(bound, ast.expr) and self._is_of_self(bound)

    def _child_call(self, node: ast.Call, name: str) -> Call | None:
        instance = self.scope.instance
        held: Any = instance._modules.get(name, instance.__dict__.get(name)) if instance is not None else None
        where = _input(node)
        described = described_as(held)
        if where is None:
            return None
        extra = len(node.args) + len(node.keywords) > 1
        if described:
            as_function = self._function_call(node, *described)
            return as_function and replace(as_function, label=name, child=name, extra=extra)
        module = held if isinstance(held, nn.Module) else as_module(held)
        if module is None:
            return None
        in_place = isinstance(module, ACTIVATIONS) and bool(getattr(module, "inplace", False))
        return Call(node, where[0], module, name, where[1], in_place, name, extra)

    def _function_call(self, node: ast.Call, name: str, values: Sequence[Any], named: Mapping[str, Any]) -> Call | None:
        where = _input(node)
        given = [self.scope.resolve(argument) for argument in node.args[1:]]
        keywords = {k.arg: self.scope.resolve(k.value) for k in node.keywords if k.arg and k.arg not in ("input",)}
        if where is None:
            return None  # its callee is then found as a reference
        module = equivalent(name, [*values, *given], {**named, **keywords})
        if module is None:
            return None
        in_place = is_in_place(name, given, {**named, **keywords})
        exact = all_known((*given, *keywords.values()))
        label = "relu" if type(module) is nn.ReLU else name.rstrip("_")
        return Call(node, where[0], module, label, where[1], in_place, exact=exact, guard=name.startswith(_BOUNDS))

    def _foreign_call(self, node: ast.Call, module: nn.Module) -> Call | None:
        where = _input(node)
        if where is None:
            return None
        in_place, extra = bool(getattr(module, "inplace", False)), len(node.args) + len(node.keywords) > 1
        return Call(node, where[0], module, _label(node.func, module), where[1], in_place, extra=extra)

    def _add_relu(self, node: ast.Call) -> Call | None:
        """Torch's sum for quantisation with a ReLU behind it: the sum stays, the activation is a site."""
        held = self.scope.resolve(node.func.value)  # type: ignore[attr-defined]
        plain = isinstance(getattr(held, "activation_post_process", nn.Identity()), nn.Identity)
        if plain and not isinstance(held, QFunctional):
            return Call(node, "add_relu", nn.ReLU(), "relu")
        self.body.unreached.append((node, "a sum with ReLU in one, whose result is quantised or observed"))
        return None

    def _made_here(self, node: ast.Call, maker: ast.Call) -> Call | None:
        """``nn.ReLU()(x)``: a module made at each call."""
        cls = self.scope.resolve(maker.func)
        where = _input(node)
        if not (isinstance(cls, type) and issubclass(cls, (*ACTIVATIONS, *GATES))) or where is None:
            return None
        values = [self.scope.resolve(argument) for argument in maker.args]
        named = {k.arg: self.scope.resolve(k.value) for k in maker.keywords if k.arg}
        exact = all_known((*values, *named.values()))
        made: Any = cls
        module: nn.Module = made(*values, **named) if exact else made()
        return Call(
            node, where[0], module, cls.__name__.lower(), where[1], getattr(module, "inplace", False), exact=exact
        )

    def _is_tensor_method(self, function: ast.expr) -> bool:
        if not isinstance(function, ast.Attribute) or function.attr not in METHODS:
            return False
        if is_super(function.value):
            return False
        owner = self.scope.resolve(function.value)
        return owner is UNKNOWN or isinstance(owner, Tensor)

    def _method_call(self, node: ast.Call) -> Call | None:
        name: str = node.func.attr  # type: ignore[attr-defined]
        values = [self.scope.resolve(argument) for argument in node.args]
        named = {k.arg: self.scope.resolve(k.value) for k in node.keywords if k.arg}
        module = equivalent(name, values, named)
        if module is None:
            return None
        label = "relu" if type(module) is nn.ReLU else name.rstrip("_")
        exact = all_known((*values, *named.values()))
        guard = name.startswith(_BOUNDS)
        return Call(node, "owner", module, label, in_place=name.endswith("_"), exact=exact, guard=guard)

    def _helper_call(self, node: ast.Call, callee: Any) -> Call | None:
        """A function of someone's own that computes an activation, called with the input alone."""
        if callee is UNKNOWN or len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            if not self._is_autograd_function(node.func):
                return None
            callee = getattr(self.scope.resolve(node.func.value), "apply", None)  # type: ignore[attr-defined]
        module = as_module(callee)
        if module is None:
            return None
        label = getattr(callee, "__name__", "").strip("_") or "activation"
        return Call(node, "first", module, label, in_place=bool(getattr(module, "in_place", False)))

    def _is_autograd_function(self, function: ast.expr) -> bool:
        if not isinstance(function, ast.Attribute) or function.attr != "apply":
            return False
        cls = self.scope.resolve(function.value)
        return isinstance(cls, type) and issubclass(cls, torch.autograd.Function)

    def _property(self, function: ast.Attribute) -> Any:
        """A property of the instance whose code someone else wrote, as the method it is."""
        instance = self.scope.instance
        if instance is None or self.scope.resolve(function.value) is not instance:
            return UNKNOWN
        owners = [cls for cls in plain_mro(type(instance)) if function.attr in vars(cls)]
        is_property = bool(owners) and isinstance(vars(owners[0])[function.attr], property)
        ours = is_property and not owners[0].__module__.startswith(("torch.", "limen."))
        return Method(owners[0], function.attr) if ours else UNKNOWN

    def _lead(self, function: ast.expr) -> None:
        """Another function whose source is part of what runs."""
        callee = _as_method(self.scope.resolve(function), self.scope.instance)
        if callee is UNKNOWN and isinstance(function, ast.Attribute):
            callee = self._property(function)
        if isinstance(callee, Method) and isinstance(function, ast.Attribute):
            target = self.scope.resolve(function.value)
            ours = isinstance(self.scope.instance, callee.owner)
            if callee.of_class and not (ours and (target is self.scope.instance or isinstance(target, type))):
                if NAMES & names_in(vars(callee.owner)[callee.name].__func__.__code__):
                    self.body.unreached.append((function, f"{callee.name}, a class method of another object"))
            elif isinstance(target, nn.Module) and target is not self.scope.instance:
                self.body.elsewhere.append((target, callee.name))
            else:
                self.body.leads.append((function, callee))
        elif isinstance(callee, FunctionType) and is_of_the_user(callee):
            self.body.leads.append((function, callee))
        elif isinstance(callee, torch.jit.ScriptFunction):
            self.body.unreached.append((function, "a scripted function"))
        elif self._runs_elsewhere(function, callee):
            self.body.unreached.append(
                (function, f"{ast.unparse(function)}, of an object that the model does not hold")
            )

    def _runs_elsewhere(self, function: ast.expr, callee: Any) -> bool:
        """Whether an object beside the model, or a method of one, computes activations."""
        if isinstance(callee, nn.Module):
            inner = list(callee.modules()) if id(callee) not in self.body.held else []
            return any(is_activation(part) or code_names_activation(type(part), "forward") for part in inner)
        if callee is not UNKNOWN:
            return code_names_activation(type(callee), "__call__")
        owner = self.scope.resolve(function.value) if isinstance(function, ast.Attribute) else UNKNOWN
        if owner is UNKNOWN or isinstance(owner, (nn.Module, type, Tensor)):
            return False
        return code_names_activation(type(owner), function.attr)  # type: ignore[attr-defined]


_ASKING = (isinstance, callable, type, id, hasattr, getattr, str, repr, print, len)
_QUANTISED = (FloatFunctional, FXFloatFunctional, QFunctional)
_PLAIN_VALUES = (type(None), int, float, str, Tensor)
_GOING_ON = frozenset(
    {
        "clamp",
        "clip",
        "clamp_min",
        "clamp_max",
        "minimum",
        "maximum",
        "min",
        "max",
        "pow",
        "square",
        "mul",
        "div",
        "sqrt",
    }
)
"""Functions that make another function of an activation's result."""


def _label(expression: ast.expr, module: nn.Module) -> str:
    """The name by which a module is called."""
    if isinstance(expression, ast.Subscript) and isinstance(expression.slice, ast.Constant):
        name = str(expression.slice.value)
        return name if name.isidentifier() else type(module).__name__.lower()
    return getattr(expression, "attr", "") or getattr(expression, "id", "") or type(module).__name__.lower()


def _is_quantised_sum(function: ast.expr, callee: Any) -> bool:
    owner = callee.owner if isinstance(callee, Method) else None
    return isinstance(function, ast.Attribute) and function.attr == "add_relu" and owner in _QUANTISED


def _as_method(callee: Any, instance: nn.Module | None) -> Any:
    """A method bound to the instance and kept in an attribute, as the method it is."""
    if isinstance(callee, MethodType) and callee.__self__ is instance:
        owners = [
            cls for cls in plain_mro(type(instance)) if vars(cls).get(callee.__func__.__name__) is callee.__func__
        ]
        return Method(owners[0], callee.__func__.__name__) if owners else callee
    return callee


def _input(node: ast.Call) -> tuple[str, str] | None:
    """Where the input stands in a call; nothing if only running would tell."""
    if any(isinstance(argument, ast.Starred) for argument in node.args):
        return None
    if node.args:
        return "first", ""
    named = [keyword.arg for keyword in node.keywords if keyword.arg in ("input", "x", "hidden_states")]
    return ("keyword", str(named[0])) if named else None
