"""What the commands that run a study share: from options as they were given to a study that is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from limen.commands.common import command_line, show
from limen.commands.options import read
from limen.commands.progress import ProgressListener
from limen.errors import SpecError
from limen.lab.executing.execution import Execution
from limen.lab.option import options
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.study.result import Result
from limen.lab.tasks import registry
from limen.lab.training.task import Task


def run(
    study: Callable[..., Result],
    kind: type[StudySettings],
    given: Mapping[str, Any],
    out: Path | None,
    as_json: bool,
    execution: Execution,
) -> None:
    """Run a study with the options that were given, and print what it came to."""
    task = registry.find(given["task"])
    settings = validated(kind, given, task)
    prefix = "select-" if kind is SelectSettings else ""
    out = out or Path("runs") / f"{prefix}{folder_name(settings.data, settings.network)}"
    with ProgressListener(task, settings) as listener:
        result = study(settings, out, listener, command=command_line(), execution=execution)
    show(result, as_json)


def validated(kind: type[StudySettings], given: Mapping[str, Any], task: Task) -> StudySettings:
    """Settings from options; a value out of range is named as its option."""
    values = read(kind, given, task.defaults)
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


def folder_name(data: str, network: str) -> str:
    """A folder name from the data's and the network's.

    >>> folder_name("../photos/cats.tar.gz", "my.nets:small")
    'cats-my.nets-small'
    """
    stem = Path(data).name.split(".")[0] or "data"
    return f"{stem}-{network.replace(':', '-').replace('/', '-')}"
