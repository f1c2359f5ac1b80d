"""``limen list``: activations, tasks with their networks, built-in data sets."""

from __future__ import annotations

import json
from typing import Any

from limen.commands.common import JsonOption, command


@command
def list_(as_json: JsonOption = False) -> None:
    """List the activations (formula, learned parameters, source), tasks with their networks, built-in data sets."""
    from dataclasses import asdict

    from limen.activations.describe import describe_all

    described = describe_all()
    networks, data, known_tasks = _lab_names()
    if as_json:
        everything = {
            "activations": [asdict(d) for d in described],
            "networks": networks,
            "data": data,
            "tasks": known_tasks,
        }
        print(json.dumps(everything, indent=1, ensure_ascii=False))
        return
    for item in described:
        learned = ", ".join(f"{name}={value:.4g}" for name, value in item.parameters.items())
        print(f"{item.name}\n    {item.formula}")
        print(f"    learned: {learned or 'nothing'}   source: {item.source}")
    print(f"networks: {', '.join(networks)}, or package.module:factory")
    for task in known_tasks:
        print(f"task {task['name']}: {task['about']}; networks {', '.join(task['networks'])}")
    print(f"data: {', '.join(data)}, or a folder, .zip or .tar.gz of class folders")


def _lab_names() -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Empty without the lab's packages: the activations can be listed all the same."""
    try:
        from limen.lab import data, networks
        from limen.lab.tasks import registry
    except ModuleNotFoundError:
        return [], [], []
    tasks = [{"name": task.name, "about": task.about, "networks": list(task.networks)} for task in registry.ALL]
    return list(networks.NETWORKS), list(data.names()), tasks
