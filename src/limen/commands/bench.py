"""``limen bench``: how fast each activation runs here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from limen.catalogue import check_specs
from limen.commands.common import JsonOption, command, command_line
from limen.errors import SpecError
from limen.lab.option import as_device
from limen.naming import split_list

DTYPES = ("float32", "bfloat16", "float16", "float64")


@command
def bench(
    activations: Annotated[
        str, typer.Option(help="Activations to time; all that keep their input's shape if left out.")
    ] = "",
    elements: Annotated[int, typer.Option(help="Elements of the input.")] = 4_000_000,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    rounds: Annotated[int, typer.Option(help="Rounds; each times every contender once.")] = 15,
    beside: Annotated[
        str, typer.Option(help="Time what stands beside activations, computed with them: glu, norm or mlp.")
    ] = "",
    with_compile: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Also time the plain formula under torch.compile.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="Write the rows to this file as JSON, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Time forward, backward and both against F.silu, torch's own, eager torch and torch.compile, interleaved."""
    check_specs(split_list(activations))
    if dtype not in DTYPES:
        raise SpecError(f"--dtype {dtype!r} is not one of {', '.join(DTYPES)}.")
    from limen import bench as timing
    from limen.activations.registry import create, names

    if beside:
        _bench_beside(beside, split_list(activations) or timing.BESIDE_ACTIVATIONS, rounds, out, as_json)
        return
    kind, place = _dtype(dtype), as_device(device)
    timing.check_size(elements, kind, rounds)
    specs = split_list(activations) or tuple(name for name in names() if create(name).keeps_shape)
    paths = [path for path in timing.PATHS if with_compile or path != "compile"]
    with _bench_progress() as listener:
        rows, bandwidth = timing.measure(
            specs,
            elements=elements,
            dtype=kind,
            device=place,
            rounds=rounds,
            paths=paths,
            listener=listener,
        )
    found = {
        "command": command_line(),
        "environment": timing.environment(),
        "copy_gigabytes_per_second": bandwidth.gigabytes_per_second,
        "rows": [row.as_dict() for row in rows],
    }
    if _handed_on(found, out, as_json):
        return
    print(timing.table(rows, bandwidth))
    for note in timing.kernel_notes(specs, place):
        print(note)


def _bench_beside(kind: str, activations: Sequence[str], rounds: int, out: Path | None, as_json: bool) -> None:
    from limen import bench as timing

    with _bench_progress() as listener:
        rows, bandwidth = timing.measure_beside(kind, activations, rounds=rounds, listener=listener)
    found = {
        "command": command_line(),
        "environment": timing.environment(),
        "copy_gigabytes_per_second": bandwidth.gigabytes_per_second,
        "rows": [row.as_dict() for row in rows],
    }
    if not _handed_on(found, out, as_json):
        print(timing.table_beside(rows, bandwidth))


def _handed_on(found: dict[str, Any], out: Path | None, as_json: bool) -> bool:
    """Write what was found to a file, if there is one; whether it was printed for programs."""
    text = json.dumps(found, indent=1)
    if out:
        from limen.writing import write_atomically

        write_atomically(out, text + "\n")
    if as_json:
        print(text)
    return as_json


@contextmanager
def _bench_progress() -> Iterator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda done, total, what: progress.update(task, completed=done, total=total, description=what)


def _dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)
