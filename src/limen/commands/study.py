"""What the commands that run a study share: from options as they were given to a study that is shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from limen.commands.common import command_line, show
from limen.commands.options import read
from limen.errors import SpecError
from limen.lab.declaration import Declaration
from limen.lab.executing.execution import Execution
from limen.lab.metric import Metric
from limen.lab.option import AUTO, DEFAULT, MOST_SEEDS, options
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.study.deciding import MOST_BY_DEFAULT
from limen.lab.study.foreseeing import foresee
from limen.lab.study.trying import BY_DEFAULT
from limen.lab.tasks import declared

if TYPE_CHECKING:
    from limen.lab.study.result import Result


def run(
    study: Callable[..., Result],
    kind: type[StudySettings],
    given: Mapping[str, Any],
    out: Path | None,
    as_json: bool,
    execution: Execution,
) -> None:
    """Run a study with the options that were given, and print what it came to."""
    task = declared.find(given["task"])
    # What is mistyped is said before torch is imported, which only the device needs.
    foresee(task, validated(kind, {**given, "device": "cpu"}, task))
    settings = validated(kind, given, task)
    prefix = "select-" if kind is SelectSettings else ""
    out = out or default_folder(settings.data, settings.network, prefix)
    from limen.commands.progress import ProgressListener

    with _said_once():
        with ProgressListener(task, settings) as listener:
            result = study(settings, out, listener, command=command_line(), execution=execution)
        show(result, as_json)


@contextmanager
def _said_once() -> Iterator[None]:
    """Of several processes of torchrun the first alone says how it goes; what goes wrong each does."""
    from limen.lab.training import together

    if together.first():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def validated(kind: type[StudySettings], given: Mapping[str, Any], task: Declaration) -> StudySettings:
    """Settings from options; a value out of range is named as its option."""
    values = until_decided(read(kind, given, task.defaults), task.measure)
    if values.get("tune"):
        values.setdefault("trials", BY_DEFAULT)
    if kind is SelectSettings:
        values |= {"kind": "select", "activations": (values["baseline"], SEARCHED, OPTIMIZED)}
    elif not values.get("baseline"):
        specs = values["activations"]
        values["baseline"] = "relu" if "relu" in specs else next(iter(specs), "")
    try:
        return kind(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        least = options(kind)[name].least
        said = f"--{name.replace('_', '-')}"
        if least:
            raise SpecError(f"{said} must name at least {least}.") from None
        raise SpecError(f"{said} {problem['input']!r} is not possible: {problem['msg'].lower()}.") from None


def until_decided(values: dict[str, Any], measure: Metric) -> dict[str, Any]:
    """With what ``--margin default`` and ``--seeds auto`` stand for."""
    if values.get("margin") == DEFAULT:
        values["margin"] = measure.margin
        if values["margin"] is None:
            raise SpecError(
                f"--margin default is not possible: {measure.title} is in the data's own unit, and only who knows "
                "them can say what does not matter; give a number."
            )
    most = values.get("max_seeds")
    if not values["seeds"]:
        most = MOST_BY_DEFAULT if most is None else most
        return {**values, "max_seeds": most, "seeds": tuple(range(max(1, min(most, MOST_SEEDS))))}
    if most is not None:
        raise SpecError(f"--max-seeds {most} belongs to --seeds {AUTO}, and a number was given; leave one of them out.")
    return values


def default_folder(data: str, network: str, prefix: str = "") -> Path:
    """Where a study lies that was given no folder."""
    return Path("runs") / f"{prefix}{folder_name(data, network)}"


def folder_name(data: str, network: str) -> str:
    """A folder name from the data's and the network's.

    >>> folder_name("../photos/cats.tar.gz", "my.nets:small")
    'cats-my.nets-small'
    """
    stem = Path(data).name.split(".")[0] or "data"
    return f"{stem}-{network.replace(':', '-').replace('/', '-')}"
