"""A command's options, made of the fields that declare the settings, each with its help there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from limen.lab.fields import StudyFields
from limen.lab.option import Option, hints, options

OUT_AFTER = "epochs"
"""The folder of a study is no setting of it; its option stands behind this one."""


def of_fields(fields: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every option of the fields; it gets what was given as a dictionary, its first argument."""

    def made(function: Callable[..., None]) -> Callable[..., None]:
        names = options(fields)

        @functools.wraps(function)
        def called(**given: Any) -> None:
            function({name: given.pop(name) for name in names}, **given)

        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        mine = [parameter(fields, name) for name in names]
        place = 1 + list(names).index(OUT_AFTER)
        out = [one for one in own if one.name == "out"]
        ordered = [*mine[:place], *out, *mine[place:], *(one for one in own if one.name != "out")]
        return _signed(called, [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in ordered])

    return made


def described(function: Callable[..., None]) -> Callable[..., None]:
    """Describe those options of a command that are a study's settings as the settings' fields do."""
    known = options(StudyFields)
    return _signed(
        function,
        [
            parameter(StudyFields, one.name).replace(kind=one.kind, default=one.default)
            if one.name in known and get_origin(one.annotation) is not Annotated
            else one
            for one in inspect.signature(function, eval_str=True).parameters.values()
        ],
    )


def _signed(function: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks for
    return function


def parameter(fields: type, name: str) -> inspect.Parameter:
    """A field as a parameter that Typer makes an option of.

    >>> parameter(StudyFields, "epochs").default
    15
    """
    option = options(fields)[name]
    given = option.given or _plain(hints(fields)[name])
    default = _default(fields, name, option)
    flags = option.flags or (f"--{name.replace('_', '-')}",)
    told = typer.Option(*flags, help=option.help, hidden=option.hidden)
    kind = given if default is not None else given | None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, told])


def _default(fields: type, name: str, option: Option) -> Any:
    """What help shows: nothing where what is left out is decided later, or where nothing is the default."""
    if option.of_task or option.default is not None:
        return option.default
    return None if option.given else getattr(fields, name, None)


def _plain(hint: Any) -> Any:
    """The type that Typer takes for a field's.

    >>> _plain(Annotated[int, "at least 1"] | None), _plain(Literal["random", "blocks"])
    (<class 'int'>, <class 'str'>)
    """
    kind = get_origin(hint)
    if kind is Annotated:
        return _plain(get_args(hint)[0])
    if kind in (Union, UnionType):
        return next(_plain(part) for part in get_args(hint) if part is not NoneType)
    return str if kind is Literal else hint


def read(fields: type, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values of settings from their options as they were given, a task's ``defaults`` where nothing was.

    What is left out has the setting's own default.
    """
    found = {}
    for name, option in options(fields).items():
        value = given[name]
        if value is None and option.of_task:
            value = defaults.get(name)
        elif value is not None and option.read:
            value = option.read(value)
        if value is not None:
            found[name] = value
    return found
