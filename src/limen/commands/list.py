"""``limen list``: activations, tasks with their networks, built-in data sets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict

from limen.catalogue import Description, entries
from limen.commands.common import JsonOption, command


@command
def list_(as_json: JsonOption = False) -> None:
    """List the activations (formula, learned parameters, source), tasks with their networks, built-in data sets."""
    from limen.lab import data, networks
    from limen.lab.tasks import declared

    described = _described()
    known_tasks = [{"name": one.name, "about": one.about, "networks": [*one.networks]} for one in declared.ALL]
    if as_json:
        everything = {
            "activations": [asdict(d) for d in described],
            "networks": [*networks.NETWORKS],
            "data": [*data.names()],
            "tasks": known_tasks,
        }
        print(json.dumps(everything, indent=1, ensure_ascii=False))
        return
    for item in described:
        learned = ", ".join(f"{name}={value:.4g}" for name, value in item.parameters.items())
        print(f"{item.name}\n    {item.formula}")
        print(f"    learned: {learned or 'nothing'}   source: {item.source}")
    print(f"networks: {', '.join(networks.NETWORKS)}, or package.module:factory")
    for task in known_tasks:
        print(f"task {task['name']}: {task['about']}; networks {', '.join(task['networks'])}")
    print(f"data: {', '.join(data.names())}, or a folder, .zip or .tar.gz of class folders")


def _described() -> Iterable[Description]:
    """From the table, which is there at once; from the classes where they are loaded, for there may be others."""
    if "limen.activations" not in sys.modules:
        return [entry.description for entry in entries().values()]
    from limen.activations.describe import describe_all

    return describe_all()
