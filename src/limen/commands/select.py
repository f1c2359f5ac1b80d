"""``limen select``: which activation each layer should use, by a search with mixtures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from limen.commands.common import JsonOption, command, share_the_processor
from limen.commands.execution import of_execution
from limen.commands.options import of_fields
from limen.lab.executing.execution import Execution
from limen.lab.fields import SelectFields


@command
@of_execution
@of_fields(SelectFields)
def select(
    given: Mapping[str, Any],
    execution: Execution,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the selection; resumed if there. Default: runs/select-DATA-NETWORK.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the activation of each layer: train a mixture, take its winners, train the optimised network.

    For every seed three networks: the baseline, the mixture (adact), the network optimised by it (optimized). Writes
    plan.json, runs.csv, summary.csv and report.html to the folder, and resumes where it stopped.
    """
    share_the_processor()
    from limen.commands import study
    from limen.lab.settings import SelectSettings

    study.run(_study, SelectSettings, given, out, as_json, execution)


def _study(*given: Any, **named: Any) -> Any:
    from limen.lab.study.select import select  # with torch, after what is mistyped was said

    return select(*given, **named)
