"""``limen compare``: every activation with the same seeds and batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from limen.commands.common import JsonOption, command, share_the_processor
from limen.commands.execution import of_execution
from limen.commands.options import of_fields
from limen.lab.executing.execution import Execution
from limen.lab.fields import StudyFields


@command
@of_execution
@of_fields(StudyFields)
def compare(
    given: Mapping[str, Any],
    execution: Execution,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; resumed if there. Default: runs/DATA-NETWORK.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train every activation with the same seeds and batches, and compare test scores and cost honestly.

    Writes runs.csv, summary.csv and report.html to the folder of the study, and resumes where it stopped.
    """
    share_the_processor()
    from limen.commands import study
    from limen.lab.settings import StudySettings
    from limen.lab.study import compare as comparing

    study.run(comparing.compare, StudySettings, given, out, as_json, execution)
