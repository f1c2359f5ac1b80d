"""``limen doctor``: what is here, and by which path activations are computed."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from limen.commands.common import JsonOption, command


@command
def doctor(
    clear_cache: Annotated[bool, typer.Option("--clear-cache", help="Remove the compiled kernels first.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which versions and devices are here, and by which path activations are computed and why."""
    from limen.installed import versions

    told = {"versions": versions()}
    if not as_json:
        # What follows imports torch, which takes most of the time, and where torch is broken does not come at all.
        _print(told)
    from limen.diagnosis import diagnose

    if clear_cache:
        from limen.kernels.c.build import clear_cache as clear

        print(f"removed {clear()} files of compiled kernels", file=sys.stderr)
    found = diagnose()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    _print({section: entries for section, entries in found.items() if section not in told})


def _print(sections: dict[str, dict[str, str]]) -> None:
    for section, entries in sections.items():
        print(section)
        for name, value in entries.items():
            print(f"  {name:<14} {value}", flush=True)
