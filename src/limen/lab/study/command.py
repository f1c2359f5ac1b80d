"""The one command that makes a whole study again, however many calls it was made by."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from limen.lab.fields import SelectFields, StudyFields
from limen.lab.option import AUTO, Option, of_seeds, options
from limen.lab.settings import RATE_OF_SGD, SelectSettings, StudySettings
from limen.lab.study.study import Study
from limen.lab.tasks import declared

ALWAYS = ("data", "network", "activations", "candidates", "baseline", "seeds", "epochs", "device")
"""What the command says even where it is the default."""


def whole_command(study: Study) -> str:
    """The command with all activations, all seeds and all options of a study; empty where no command can say it.

    A study that follows a recipe is made by the command that was given for it, with all seeds.
    """
    settings = study.settings
    given = shlex.split(study.command)
    if settings.seeds != tuple(range(len(settings.seeds))):
        return study.command  # seeds that only Python can ask for
    if study.recipe:
        return shlex.join(_with_all_seeds(given, study)) if given else ""
    method = "select" if isinstance(settings, SelectSettings) else "compare"
    words = [word for name, option in _options(settings).items() for word in _words(settings, name, option)]
    return shlex.join(["limen", method, *words, *_out(given)])


def _options(settings: StudySettings) -> dict[str, Option]:
    known = options(SelectFields if isinstance(settings, SelectSettings) else StudyFields)
    return {name: known[name] for name in dict.fromkeys((*ALWAYS, *known)) if name in known}


def _words(settings: StudySettings, name: str, option: Option) -> Iterator[str]:
    """A setting as it is given, and nothing where what is left out is the same."""
    value = getattr(settings, name)
    if value is None or (name not in ALWAYS and value == _left_out(settings, name, option)):
        return
    flag = option.flags[0] if option.flags else f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        yield flag
        return
    text = AUTO if name == "seeds" and settings.max_seeds is not None else option.write(value)
    yield from (f"{flag}={text}",) if text.startswith("-") else (flag, text)


def _left_out(settings: StudySettings, name: str, option: Option) -> Any:
    """The setting where its option is not given."""
    if name == "learning_rate" and settings.optimizer == "sgd":
        return RATE_OF_SGD
    of_task = declared.find(settings.task).defaults
    if option.of_task and name in of_task:
        return of_task[name]
    return type(settings).model_fields[name].default


def _with_all_seeds(given: Sequence[str], study: Study) -> list[str]:
    without, asked = [], False
    words = iter(given)
    for word in words:
        if word == "--seeds":
            next(words, None)
        if word == "--seeds" or word.startswith("--seeds="):
            asked = True
        else:
            without.append(word)
    if not asked and len(study.asked) < 2:
        return without
    return [*without, "--seeds", of_seeds(study.settings.seeds)]


def _out(given: Sequence[str]) -> list[str]:
    """The folder as it was named."""
    found = [given[place + 1] for place, word in enumerate(given[:-1]) if word == "--out"]
    found += [word.partition("=")[2] for word in given if word.startswith("--out=")]
    return ["--out", found[-1]] if found else []
