"""Example inputs as calls of a model: which part of a tuple, a list or a mapping is which argument.

A reading must fit the signature of ``forward``, and of what a wrapper hands everything on to. Where several fit, as for
``(x, y)`` in a list and ``forward(x, mask=None)``, the model is run on each: one that raises is out, and two that give
different outputs are for the user to tell apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limen.errors import LimenError
from limen.warmstart import Arguments

Run = Callable[[nn.Module, Arguments], list[Tensor]]
"""What the model gives for arguments, for comparison."""

HOW = (
    "A tensor is one argument, a tuple the arguments of one call, a mapping the arguments by name, and a list or other "
    "iterable holds one batch an item; an argument that itself is a list, tuple or mapping goes into a tuple: (x,)."
)


def batches(model: nn.Module, example_inputs: Any, run: Run) -> list[Arguments]:
    """Example inputs as the arguments of one call a batch.

    Raises:
        LimenError: for what the model's ``forward`` does not take, and for what can be read in two ways.
    """
    if example_inputs is None:
        return []
    if isinstance(example_inputs, tuple) and not _has_names(example_inputs):
        return [_checked(model, Arguments(example_inputs))]
    if _is_one_call(example_inputs):
        return [_read(model, example_inputs, run)]
    if isinstance(example_inputs, (str, bytes)) or not isinstance(example_inputs, Iterable):
        raise LimenError(
            f"example_inputs must be a tensor, a tuple of the model's arguments, a mapping of them, or an iterable of "
            f"batches, and {type(example_inputs).__name__} was given."
        )
    found = [_read(model, batch, run) for batch in example_inputs]
    if not found:
        raise LimenError("example_inputs holds no batch; an iterator can be used only once.")
    return found


def first_run(model: nn.Module, given: list[Arguments], run: Run) -> list[Tensor]:
    """What the model gives for all batches.

    Raises:
        LimenError: with how it was called, where the model raises.
    """
    found: list[Tensor] = []
    for arguments in given:
        values = _run(model, arguments, run)
        if isinstance(values, Exception):
            raise LimenError(
                f"the model raised {_said(values)} when it was called as {arguments} with example_inputs. {HOW}"
            ) from values
        found += values
    return found


def _run(model: nn.Module, arguments: Arguments, run: Run) -> list[Tensor] | Exception:
    """What the model gives, or raises."""
    try:
        return run(model, arguments)
    except Exception as error:  # whatever the model's own code does with an input that it was not made for
        return error


def equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether all tensors are the same to the bit; what is NaN in both is."""
    return len(first) == len(second) and all(map(_same, first, second))


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _is_one_call(value: Any) -> bool:
    """Whether it is no collection of batches: a tensor, a mapping, a named tuple or an object of a data class."""
    return isinstance(value, (Tensor, Mapping)) or _has_names(value)


def _has_names(value: Any) -> bool:
    named = isinstance(value, tuple) and hasattr(value, "_fields")
    return named or (is_dataclass(value) and not isinstance(value, (type, Mapping)))


def _read(model: nn.Module, batch: Any, run: Run) -> Arguments:
    """One batch as the arguments of a call."""
    if isinstance(batch, Mapping):
        return _by_name(model, batch)
    if not isinstance(batch, (tuple, list)):
        return _checked(model, Arguments((batch,)))
    readings = [Arguments(tuple(batch)), Arguments((batch,))]
    if len(batch) > 1 and not _has_names(batch):
        readings.insert(1, Arguments((batch[0],)))  # the rest are labels
    fitting = _fitting(model, readings)
    if not fitting:
        raise _misfit(model, readings[0])
    return fitting[0] if len(fitting) == 1 else _tried(model, fitting, run)


def _by_name(model: nn.Module, batch: Mapping[Any, Any]) -> Arguments:
    """A mapping as keyword arguments; as one argument where ``forward`` knows none of its names."""
    by_name = _named(model, batch)
    whole = Arguments((batch,))
    known = {name for signature in _signatures(model) for name in signature.parameters}
    if by_name is not None and (_fitting(model, [by_name]) == [by_name] or known & set(batch)):
        return _checked(model, by_name)
    return _checked(model, whole if _fitting(model, [whole]) or by_name is None else by_name)


def _named(model: nn.Module, batch: Mapping[Any, Any]) -> Arguments | None:
    """Its values under their names, those of parameters that take no name by position."""
    if not all(isinstance(name, str) for name in batch):
        return None
    values, positional = dict(batch.items()), []
    for signature in _signatures(model)[:1]:
        for name, parameter in signature.parameters.items():
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and name in values:
                positional.append(values.pop(name))
    return Arguments(tuple(positional), values)


def _tried(model: nn.Module, readings: list[Arguments], run: Run) -> Arguments:
    """The first reading that the model can be run on, if no other gives something else."""
    tried = [(arguments, _run(model, arguments, run)) for arguments in readings]
    found = [(arguments, values) for arguments, values in tried if not isinstance(values, Exception)]
    if not found:
        errors = [f"{arguments} raises {_said(error)}" for arguments, error in tried if isinstance(error, Exception)]
        raise LimenError(f"a batch of example_inputs does not fit the model: {'; '.join(errors)}. {HOW}")
    others = [arguments for arguments, values in found[1:] if not equal(values, found[0][1])]
    if others:
        ways = " or as ".join(str(arguments) for arguments in (found[0][0], *others))
        raise LimenError(
            f"a batch of example_inputs can be read as {ways}, and the model runs on each with different outputs; give "
            "mappings of arguments by name, as [{'x': x}], or the tensors alone where the rest are labels."
        )
    return found[0][0]


def _fitting(model: nn.Module, readings: list[Arguments]) -> list[Arguments]:
    """Those that every signature takes; if there are none, those that the outermost takes."""
    signatures = _signatures(model)
    inside = [arguments for arguments in readings if all(not _why_not(one, arguments) for one in signatures)]
    return inside or [
        arguments for arguments in readings if all(not _why_not(one, arguments) for one in signatures[:1])
    ]


def _checked(model: nn.Module, arguments: Arguments) -> Arguments:
    if not _fitting(model, [arguments]):
        raise _misfit(model, arguments)
    return arguments


def _misfit(model: nn.Module, arguments: Arguments) -> LimenError:
    signature = _signatures(model)[0]
    count = len(arguments.positional) + len(arguments.named)
    return LimenError(
        f"example_inputs holds {count} argument{'s' * (count != 1)}, and the model's forward{signature} does not take "
        f"them: {_why_not(signature, arguments)}. {HOW}"
    )


def _why_not(signature: inspect.Signature, arguments: Arguments) -> str:
    try:
        signature.bind(*arguments.positional, **arguments.named)
    except TypeError as error:
        return str(error)
    return ""


def _signatures(model: nn.Module) -> list[inspect.Signature]:
    """Of the ``forward`` that is called, of the one it decorates, and of an only child that is handed everything."""
    module: nn.Module | None = model
    found: list[inspect.Signature] = []
    while module is not None:
        module = getattr(module, "_orig_mod", module)
        try:
            found += [inspect.signature(module.forward, follow_wrapped=follow) for follow in (False, True)]
        except ValueError:  # compiled code tells none
            break
        module = _inside(module) if _takes_anything(found[-1]) else None
    return found


def _takes_anything(signature: inspect.Signature) -> bool:
    parameters = list(signature.parameters.values())
    any_kind = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return bool(parameters) and all(parameter.kind in any_kind for parameter in parameters)


def _inside(module: nn.Module) -> nn.Module | None:
    children = list(module.children())
    return children[0] if len(children) == 1 else None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
