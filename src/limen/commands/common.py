"""What the commands share: errors as one sentence, options of a study, how a result is printed."""

from __future__ import annotations

import errno
import functools
import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from limen.errors import LimenError, MissingExtraError, SpecError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn what can go wrong into one sentence and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except BrokenPipeError:
            # Whoever read our output, such as head, has had enough; Python must not try to flush the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (LimenError, OSError, ModuleNotFoundError) as error:
            if "--debug" in sys.argv:
                raise
            fail(sentence(error), EXIT_BAD_INPUT)
        except KeyboardInterrupt:
            fail("interrupted; finished runs are kept, and the same command continues.", EXIT_INTERRUPTED)

    return guarded


def fail(sentence: str, code: int) -> NoReturn:
    """Say why on standard error, and end."""
    print(f"limen: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def sentence(error: Exception) -> str:
    """What went wrong and what to do, for a person."""
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, LimenError):
        package = str(error.name).partition(".")[0]
        return str(MissingExtraError(f"this needs {package}; install it with: pip install 'limen[lab]'"))
    if not isinstance(error, OSError):
        return str(error)
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full, writing{where} failed; free some space and give the same command, nothing is lost."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write or read{where}; choose another folder or change its permissions."
    return f"{error.strerror or error}{where}."


def share_the_processor() -> None:
    """Let torch's waiting threads give up the processor early; must come before torch is imported.

    Small networks wait often. With one other busy process on two cores, the same study took 11 s with OpenMP's default
    and 2.4 s with this; alone, 1.8 s and 2.0 s.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def study_settings(kind: Literal["compare", "select"] = "compare", **given: Any) -> Any:
    """Validated settings from options as they were given; a value out of range is named as its option."""
    from pydantic import ValidationError

    from limen.lab.settings import SelectSettings, StudySettings

    if given["seeds"] < 1:
        raise SpecError(
            f"--seeds {given['seeds']} is not possible: give the number of runs of each activation, 1 or more."
        )
    values = {
        **given,
        "data_dir": None if given["data_dir"] is None else str(given["data_dir"]),
        "image_size": image_size_of(given["image_size"]),
        "seeds": tuple(range(given["seeds"])),
        "device": device_of(given["device"]),
    }
    try:
        return StudySettings(**values) if kind == "compare" else SelectSettings(kind=kind, **values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        option = "--" + name.replace("_", "-")
        if name == "activations":
            raise SpecError("--activations must name at least one, such as relu,asau.") from None
        if name == "candidates":
            raise SpecError("--candidates must name at least two, such as relu,silu,mish.") from None
        raise SpecError(f"{option} {problem['input']!r} is not possible: {problem['msg'].lower()}.") from None


def image_size_of(text: str | None) -> tuple[int, int] | None:
    """Height and width from ``32`` or ``32x48``.

    >>> image_size_of("32x48")
    (32, 48)
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise SpecError(f"--image-size {text!r} is not a size; give 32, or 32x48 for height x width.")
    return int(parts[0]), int(parts[-1])


def intensity_of(text: str | None) -> tuple[float, float] | None:
    """Two numbers, the first below the second.

    >>> intensity_of("-160,240")
    (-160.0, 240.0)
    """
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -math.inf < low < high < math.inf:
        raise SpecError(f"--intensity {text!r} is no range; give the lower and the upper end, such as -160,240.")
    return low, high


def device_of(name: str) -> str:
    """A device as torch names it; ``auto`` is a GPU where there is one."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def folder_name(data: str, network: str) -> str:
    """A folder name from the data's and the network's.

    >>> folder_name("../photos/cats.tar.gz", "my.nets:small")
    'cats-my.nets-small'
    """
    stem = Path(data).name.split(".")[0] or "data"
    return f"{stem}-{network.replace(':', '-').replace('/', '-')}"


def command_line() -> str:
    """The command as it was given."""
    return shlex.join(["limen", *sys.argv[1:]])


def show(result: Any, as_json: bool) -> None:
    """Print what a study came to."""
    if as_json:
        from limen.lab.study.store import run_row

        found = {
            "summary": [row.model_dump() for row in result.summary],
            "runs": [run_row(run) for run in result.runs],
            "report": str(result.report),
            **({"plan": result.plan.as_dict()} if result.plan else {}),
        }
        print(json.dumps(finite(found), indent=1))
    else:
        from rich.console import Console

        from limen.commands.console import print_result

        print_result(result, Console())
    if result.runs and len(result.failed) == len(result.runs):
        fail("every run failed: the loss stopped being finite; try a smaller --lr.", EXIT_BAD_INPUT)


def finite(value: Any) -> Any:
    """NaN and infinity are not JSON: null in their place."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
