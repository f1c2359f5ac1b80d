"""Every setting of a study against its option."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import pytest
import typer
from helpers_commands import refused
from helpers_lab import Command

from limen import cli
from limen.lab.executing.execution import Execution
from limen.lab.fields import SelectFields, StudyFields
from limen.lab.option import NOT_AN_OPTION
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.tasks import registry
from limen.lab.training.task import Task

STUDIES = {"compare": (StudyFields, StudySettings), "select": (SelectFields, SelectSettings)}
NO_OPTIONS = {"compare": {"own"}, "select": {"kind", "activations", "own"}}
OWN = {"compare": {"plan", "difference", "sd", "suite"}, "select": set()}
"""Options that are no settings."""


def parameters(name: str) -> dict[str, click.Parameter]:
    group: Any = typer.main.get_command(cli.application())
    return {parameter.name: parameter for parameter in group.commands[name].params}


@pytest.mark.parametrize("name", STUDIES)
def test_every_setting_is_an_option_with_help_or_says_that_it_is_none(name: str, run: Command) -> None:
    fields, settings = STUDIES[name]
    known, declared = parameters(name), get_type_hints(fields, include_extras=True)
    assert declared.keys() == settings.model_fields.keys()
    without = {field for field, hint in declared.items() if NOT_AN_OPTION in get_args(hint)}
    assert without == NO_OPTIONS[name]
    of_execution = {field.name for field in dataclasses.fields(Execution)}
    assert known.keys() - {"out", "as_json", "help"} - of_execution - OWN[name] == declared.keys() - without
    assert of_execution <= known.keys()
    for field in declared.keys() - without:
        assert f"--{field.replace('_', '-')}" in known[field].opts
        assert len(known[field].help.rstrip(".")) > 10


GIVEN = {"test_data": "x", "target": "x", "time": "x", "drop": "x", "window": "7",
         "ignore_label": "3", "foreground": "",
         "intensity": "1,2", "normal_class": "x", "split": "blocks", "image_size": "8", "grey": "", "channels_last": "",
         "orientation": "stored", "augment": "flip", "label_smoothing": "0.1",
         "tokens": "bytes", "stride": "3", "text": "x"}  # fmt: skip
"""A value of each option that not every task has."""
REFUSING = ("classification", "forecasting", "segmentation", "language", "anomaly")
"""Tasks whose refusals are tried in the usual tests, with `limen compare`: a second each."""


@pytest.mark.parametrize(
    ("task", "name"),
    [
        pytest.param(task, name, marks=[pytest.mark.thorough] * (name != "compare" or task.name not in REFUSING))
        for task in registry.ALL
        for name in STUDIES
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_options_of_other_tasks_are_refused(task: Task, name: str, run: Command, tmp_path: Path) -> None:
    assert set(GIVEN) == set().union(*(other.options for other in registry.ALL))
    for option in sorted(registry.hidden_options(task)):
        flag = f"--{option.replace('_', '-')}"
        sentence = refused(run, name, "--task", task.name, flag, *filter(None, [GIVEN[option]]), "--out", "out")
        assert sentence.startswith(f"limen: {flag} ")
        assert f"is not an option of --task {task.name}, only of " in sentence
    assert list(tmp_path.iterdir()) == []
