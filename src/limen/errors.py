"""The errors a user can cause. Each message is one clear sentence: what came, what is allowed, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LimenError(Exception):
    """Base of every error that limen raises on purpose; the commands print it and exit with code 2."""


class SpecError(LimenError, ValueError):
    """An activation, argument, network or data set was named or configured in a way that does not exist."""


class ShapeError(LimenError, ValueError):
    """A tensor does not have the shape that an activation was built for."""


class DtypeError(LimenError, TypeError):
    """A tensor has an element type on which activations are not defined."""


class SampleError(LimenError, ValueError):
    """Values given to fit or refresh a part of a model do not determine it."""


class DataError(LimenError):
    """A data set is missing, damaged or inconsistent."""


class PlanError(LimenError, ValueError):
    """A plan cannot be made, read or applied to this model."""


class StudyError(LimenError):
    """A study cannot be started, continued or read as asked."""


class MissingExtraError(LimenError, ImportError):
    """An optional dependency is needed for what was asked and is not installed."""


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
