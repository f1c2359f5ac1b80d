"""How a setting is written on a command line, and how what was written there is read.

Help is made from this, so nothing heavy is imported before a value is read.
"""

from __future__ import annotations

import csv
import functools
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, get_type_hints

from limen.errors import SpecError
from limen.lab.rates import SETTINGS
from limen.naming import split_list

MOST_SEEDS, LONGEST_EDGE = 10_000, 16_384
"""More runs of one activation, and larger images, than anything here is made for."""
AUTO = "auto"
"""In the place of a number of seeds: as many as it takes."""
DEFAULT = "default"
"""In the place of a margin: that of the task's measure."""
NOT_AN_OPTION = "not an option"
"""In the place of an option: the setting follows from others."""


@dataclass(frozen=True)
class Option:
    """A setting's option. Its name and its type are the setting's, unless ``flags`` and ``given`` say otherwise."""

    help: str
    flags: tuple[str, ...] = ()
    given: Any = None
    """The type of what is given, where ``read`` makes the setting of it."""
    read: Callable[[Any], Any] | None = None
    write: Callable[[Any], str] = str
    """What is given for a value of the setting: the inverse of ``read``."""
    default: Any = None
    """What stands for an option that is left out, where the setting has no default or another."""
    of_task: bool = False
    """Whether every task has its own default."""
    after: str = ""
    """The option that it stands behind; empty: as the fields are declared."""
    least: str = ""
    """How many things it must name, with an example."""
    hidden: bool = False
    """Whether it is refused with a reason, and no help names it."""


@functools.cache
def hints(fields: type) -> Mapping[str, Any]:
    """The declared type of every setting, its option among its annotations; evaluated once, as every help needs it."""
    return get_type_hints(fields, include_extras=True)


@functools.cache
def options(fields: type) -> Mapping[str, Option]:
    """The options of declared settings, in the order of the command's help.

    >>> from limen.lab.fields import SelectFields
    >>> names = list(options(SelectFields))
    >>> names[names.index("network") :][:5]
    ['network', 'candidates', 'baseline', 'rule', 'seeds']
    """
    ordered: list[str] = []
    found: dict[str, Option] = {}
    for name, hint in hints(fields).items():
        option = next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Option)), None)
        if option is not None:
            found[name] = option
        ordered.insert(ordered.index(option.after) + 1 if option and option.after else len(ordered), name)
    return {name: found[name] for name in ordered if name in found}


def as_seeds(seeds: int | str) -> tuple[int, ...]:
    """So many seeds, from 0 on; none yet for ``auto``.

    >>> as_seeds(3), as_seeds("2"), as_seeds("auto")
    ((0, 1, 2), (0, 1), ())
    """
    text = str(seeds).strip()
    if text == AUTO:
        return ()
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_SEEDS:
        raise SpecError(
            f"--seeds {seeds} is not possible: give the number of runs of each activation, from 1 to {MOST_SEEDS:,}. "
            "With --margin, auto runs as many as a verdict takes."
        )
    return tuple(range(int(text)))


def as_margin(text: str) -> float | str:
    """A number, or that the measure's own margin is meant.

    >>> as_margin("0.5"), as_margin("default")
    (0.5, 'default')
    """
    if text.strip() == DEFAULT:
        return DEFAULT
    try:
        return float(text)
    except ValueError:
        raise SpecError(
            f"--margin {text!r} is no number; give the difference that does not matter, in the measure's unit (points "
            f"of percents), such as 0.5, or {DEFAULT}."
        ) from None


def of_seeds(seeds: Sized) -> str:
    """What :func:`as_seeds` reads.

    >>> of_seeds((0, 1, 2))
    '3'
    """
    return str(len(seeds))


def as_specs(text: str) -> tuple[str, ...]:
    """Names separated by commas, such as activations with their arguments."""
    return split_list(text)


def of_specs(specs: Iterable[str]) -> str:
    """What :func:`as_specs` reads.

    >>> of_specs(("relu", "asau:beta=2,alpha=3"))
    'relu,asau:beta=2,alpha=3'
    """
    return ",".join(specs)


def as_tuned(text: str) -> tuple[str, ...]:
    """What is tuned: the learning rate, and what else beside it; in one order, whatever was given.

    >>> as_tuned("weight-decay,lr"), as_tuned("")
    (('lr', 'weight-decay'), ())
    """
    given = [word.strip() for word in text.split(",")] if text.strip() else []
    if given and (not set(given) <= set(SETTINGS) or "lr" not in given or len(set(given)) < len(given)):
        raise SpecError(
            f"--tune {text!r} is not possible: give lr, alone or with {' and '.join([*SETTINGS][1:])}, each once, such "
            "as lr,weight-decay."
        )
    return tuple(word for word in SETTINGS if word in given)


def as_names(given: Iterable[str]) -> tuple[str, ...]:
    """Names from options that may be repeated, each a name or several separated by commas, in quotes where need be.

    They are a set, so they are sorted: in another order they are the same.

    >>> as_names(["name,id", '"city, street"'])
    ('city, street', 'id', 'name')
    """
    parts = (next(csv.reader([text], skipinitialspace=True), []) or [""] for text in given)
    return tuple(sorted({name.strip() for names in parts for name in names}))


def of_names(names: Iterable[str]) -> str:
    """What :func:`as_names` reads.

    >>> of_names(("id", "city, street"))
    'id,"city, street"'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def as_size(text: str) -> tuple[int, int]:
    """Height and width from ``32`` or ``32x48``.

    >>> as_size("32x48")
    (32, 48)
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]{1,5}", part) and 0 < int(part) <= LONGEST_EDGE for part in parts):
        raise SpecError(
            f"--image-size {text!r} is not a size; give 32, or 32x48 for height x width, each at most {LONGEST_EDGE:,}."
        )
    return int(parts[0]), int(parts[-1])


def of_size(size: tuple[int, int]) -> str:
    """What :func:`as_size` reads.

    >>> of_size((32, 48))
    '32x48'
    """
    return f"{size[0]}x{size[1]}"


def as_epochs(text: str) -> tuple[int, ...]:
    """Epochs separated by commas.

    >>> as_epochs("60,120")
    (60, 120)
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,7}", part) for part in parts):
        raise SpecError(f"--milestones {text!r} is no list of epochs; give whole numbers, such as 60,120.")
    return tuple(map(int, parts))


def of_epochs(epochs: Iterable[int]) -> str:
    """What :func:`as_epochs` reads.

    >>> of_epochs((60, 120))
    '60,120'
    """
    return ",".join(map(str, epochs))


def as_range(text: str) -> tuple[float, float]:
    """Two numbers, the first below the second.

    >>> as_range("-160,240")
    (-160.0, 240.0)
    """
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -math.inf < low < high < math.inf:
        raise SpecError(f"--intensity {text!r} is no range; give the lower and the upper end, such as -160,240.")
    return low, high


def of_range(ends: tuple[float, float]) -> str:
    """What :func:`as_range` reads.

    >>> of_range((-160.0, 240.0))
    '-160.0,240.0'
    """
    return f"{ends[0]},{ends[1]}"


def as_ends(option: str) -> Callable[[str], tuple[float, float]]:
    """What reads start and end of a schedule from ``1:0.1``, or one number for both.

    >>> as_ends("temperature")("1:0.1")
    (1.0, 0.1)
    """

    def read(text: str) -> tuple[float, float]:
        try:
            start, _, end = text.partition(":")
            return float(start), float(end or start)
        except ValueError:
            raise SpecError(f"--{option} {text!r} is not of the form from:to, such as 1:0.1.") from None

    return read


def of_ends(ends: tuple[float, float]) -> str:
    """What :func:`as_ends` reads.

    >>> of_ends((1.0, 0.1))
    '1.0:0.1'
    """
    return f"{ends[0]}:{ends[1]}"


def as_device(name: str) -> str:
    """A device as torch names it, on which tensors can be made; ``auto`` is a GPU where there is one.

    >>> as_device("cpu")
    'cpu'
    """
    if name == "cpu":
        return name
    import torch  # takes seconds to import

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).tolist()  # where a device holds no values, such as meta, this fails
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].partition(". ")[0].rstrip(".")[:120]
        raise SpecError(f"the device {name!r} cannot be used here ({reason}); use --device cpu.") from None
    return name
