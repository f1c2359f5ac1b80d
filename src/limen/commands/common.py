"""What the commands share: errors as one sentence, how a result is printed."""

from __future__ import annotations

import errno
import functools
import json
import os
import shlex
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from limen.commands import interrupting
from limen.errors import LimenError, SpecError, missing
from limen.lab.numerals import finite
from limen.memory import is_out_of_memory

EXIT_BAD_INPUT = 2
LONGEST_SENTENCE = 2000
"""Characters."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn what can go wrong into one sentence and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        with interrupting.noticed():
            try:
                told(*args, **kwargs)
                interrupting.stop_if_pressed()
            except KeyboardInterrupt:
                interrupting.heed_no_more()
                fail(interrupting.SENTENCE, interrupting.EXIT_INTERRUPTED)

    def told(*args: Any, **kwargs: Any) -> None:
        try:
            _check_words()
            function(*args, **kwargs)
        except BrokenPipeError:
            # Whoever read our output, such as head, has had enough; Python must not try to flush the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (LimenError, OSError, ModuleNotFoundError, MemoryError, RuntimeError) as error:
            unforeseen = isinstance(error, RuntimeError) and not is_out_of_memory(error)
            if unforeseen or "--debug" in sys.argv:
                raise
            fail(sentence(error), EXIT_BAD_INPUT)

    return guarded


def _check_words() -> None:
    """What is given stands in files, which are UTF-8."""
    word = next((word for word in sys.argv if any("\ud800" <= char <= "\udfff" for char in word)), None)
    if word is not None:
        shown = word.encode(errors="backslashreplace").decode()
        raise SpecError(f"'{shown}' is no text in UTF-8; rename that file or folder.")


def fail(sentence: str, code: int) -> NoReturn:
    """Say why on standard error, and end."""
    print(f"limen: {_plain(sentence)}", file=sys.stderr)
    raise typer.Exit(code)


def _plain(text: str) -> str:
    """On one line of bounded length: what it repeats, such as a file's name, may hold what a terminal obeys."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown if len(shown) <= LONGEST_SENTENCE else f"{shown[:LONGEST_SENTENCE]}…"


def sentence(error: Exception) -> str:
    """What went wrong and what to do, for a person."""
    if is_out_of_memory(error) and not isinstance(error, LimenError):
        said = " ".join(str(error).split())[:200] or "no more could be had"
        return f"there is not enough memory ({said}); give a smaller --batch-size or --image-size, or less data."
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, LimenError):
        package = str(error.name).partition(".")[0]
        return str(missing("lab", f"this needs {package}"))
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


def command_line() -> str:
    """The command as it was given."""
    return shlex.join(["limen", *sys.argv[1:]])


def show(result: Any, as_json: bool) -> None:
    """Print what a study came to."""
    if as_json:
        from limen.lab.study.forms import run_row

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
        fail(f"every run failed: {_why(result.failed)}", EXIT_BAD_INPUT)


def _why(failed: Any) -> str:
    from limen.lab.executing.attempt import NO_MEMORY

    if all(run.failure.startswith(NO_MEMORY) for run in failed):
        return f"{NO_MEMORY}; give a smaller --batch-size or --image-size, or less data, and another --out."
    ended = next((run.failure for run in failed if not run.curves and not run.parameters), "")
    return ended or "the loss stopped being finite; try a smaller --lr."
