"""The errors a user can cause. Each message is one clear sentence: what came, what is allowed, what to do next."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

__all__ = [
    "DataError",
    "DtypeError",
    "LimenError",
    "MissingExtraError",
    "PlanError",
    "SampleError",
    "ShapeError",
    "SpecError",
    "StudyError",
]


class LimenError(Exception):
    """Base of every error that limen raises on purpose; the commands print it and exit with code 2.

    >>> issubclass(LimenError, Exception)
    True
    """


class SpecError(LimenError, ValueError):
    """An activation, argument, network or data set was named or configured in a way that does not exist.

    >>> issubclass(SpecError, ValueError)
    True
    """


class ShapeError(LimenError, ValueError):
    """A tensor does not have the shape that an activation was built for.

    >>> issubclass(ShapeError, ValueError)
    True
    """


class DtypeError(LimenError, TypeError):
    """A tensor has an element type on which activations are not defined.

    >>> issubclass(DtypeError, TypeError)
    True
    """


class SampleError(LimenError, ValueError):
    """Values given to fit or refresh a part of a model do not determine it.

    >>> issubclass(SampleError, ValueError)
    True
    """


class DataError(LimenError):
    """A data set is missing, damaged or inconsistent.

    >>> issubclass(DataError, LimenError)
    True
    """


class PlanError(LimenError, ValueError):
    """A plan cannot be made, read or applied to this model.

    >>> issubclass(PlanError, ValueError)
    True
    """


class StudyError(LimenError):
    """A study cannot be started, continued or read as asked.

    >>> issubclass(StudyError, LimenError)
    True
    """


class MissingExtraError(LimenError, ImportError):
    """An optional dependency is needed for what was asked and is not installed.

    >>> issubclass(MissingExtraError, ImportError)
    True
    """


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest to an unknown one, or list them all when none is near.

    >>> suggest("asua", ["asau", "ash", "relu"])
    "Did you mean 'asau'?"
    >>> suggest("xyz", ["asau", "ash"])
    'Known: asau, ash.'
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def missing(extra: str, need: str, reason: str = "", instead: str = "") -> MissingExtraError:
    """The error that names the extra to install.

    >>> missing("plot", "a figure needs matplotlib")
    MissingExtraError("a figure needs matplotlib; install it with: pip install 'limen[plot]'")
    """
    broken = f", which cannot be imported ({reason})" if reason else ""
    return MissingExtraError(f"{need}{broken}; install it with: pip install 'limen[{extra}]'{instead}")


def require(module: str, extra: str, need: str, instead: str = "") -> ModuleType:
    """Import a module of an optional library, or say which extra brings it.

    Args:
        module: its full name, ``library.part``.
        extra: of limen, which installs the library.
        need: what needs which library; the error begins with it.
        instead: what else can be done; the error ends with it.

    Raises:
        MissingExtraError: if the module cannot be imported; with the reason where the library is there.

    >>> require("no_such_library.part", "plot", "a figure needs no_such_library")
    Traceback (most recent call last):
    limen.errors.MissingExtraError: a figure needs no_such_library; install it with: pip install 'limen[plot]'
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a library that is installed may still fail, as torchvision beside another torch does
        absent = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        reason = "" if absent else f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
        raise missing(extra, need, reason, instead) from error
