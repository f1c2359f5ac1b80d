"""The options that say where the runs of a study are computed and how many at a time; none of them is a setting."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from limen.lab.executing.execution import Execution

_HELP = {
    "jobs": "Runs computed at a time. Default: as many as cores and memory allow.",
    "on": "local: processes of this machine; ray; or ray:ADDRESS of a cluster, such as ray:auto.",
    "cpus_per_run": "Processors that Ray sets aside for a run. Default: its threads.",
    "gpus_per_run": "GPUs that Ray sets aside for a run, such as 0.5.",
    "timeout_per_run": "Seconds after which a run that has not ended counts as failed.",
}
_TYPES = {"jobs": int, "on": str, "cpus_per_run": float, "gpus_per_run": float, "timeout_per_run": float}


def of_execution(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets what was given as its argument ``execution``."""

    @functools.wraps(function)
    def called(**given: Any) -> None:
        function(execution=Execution(**{name: given.pop(name) for name in _HELP}), **given)

    own = [one for one in inspect.signature(function, eval_str=True).parameters.values() if one.name != "execution"]
    last = next((place for place, one in enumerate(own) if one.name == "as_json"), len(own))
    ordered = [*own[:last], *map(_parameter, _HELP), *own[last:]]
    keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in ordered]
    called.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]  # what inspect looks for
    return called


def _parameter(name: str) -> inspect.Parameter:
    default = getattr(Execution, name)
    kind: Any = _TYPES[name] if default is not None else _TYPES[name] | None
    told = typer.Option(f"--{name.replace('_', '-')}", help=_HELP[name])
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, told])
