"""The table of what came of all changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mutation.parts import MODULES

ABOUT = """# Mutants

`python tests/mutants.py --out docs/results/mutants.json`: {count} changes of a single token, and whether tests of the
module notice them. Of the usual tools neither serves here: mutmut changes the bodies of functions only, so neither a
constant of a module nor C, and cosmic-ray starts a process for each change, in which the import of torch takes longer
than the tests.

What is computed and said is the same to the last bit where a change *changes nothing*; such changes do not count in the
last column. All that was *not noticed* does, whatever the reason.
"""


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The page beside the JSON."""
    lines = [ABOUT.format(count=len(results))]
    lines += ["| module | mutants | change nothing | killed | survive | killed of those that change something |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    lines += [_row(name, [one for one in results if name in (one["module"], "all")]) for name in [*MODULES, "all"]]
    for heading, same in (("Not noticed", False), ("Change nothing", True)):
        lines += ["", f"## {heading}", "", "| where | change | why |", "| --- | --- | --- |"]
        lines += [_survivor(one) for one in results if not one["by"] and one["same"] == same]
    return "\n".join(lines) + "\n"


def _row(name: str, mine: Sequence[Mapping[str, Any]]) -> str:
    if not mine:
        return f"| {name} | not tried yet | – | – | – | – |"
    killed, same = sum(bool(one["by"]) for one in mine), sum(one["same"] for one in mine)
    share = f"{killed / (len(mine) - same):.1%}"
    return f"| {name} | {len(mine)} | {same} | {killed} | {len(mine) - killed - same} | {share} |"


def _survivor(one: Mapping[str, Any]) -> str:
    code = one["text"].strip().replace("`", "'")
    change = f"`{one['old']}` → `{one['new']}` in `{code}`".replace("``", "nothing").replace("|", "\\|")
    return f"| {one['path'].removeprefix('src/limen/')}:{one['line']} | {change} | {one['why'] or '?'} |"
