"""``limen inspect``: what the activations of a model receive, give and compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from limen.catalogue import check_specs
from limen.commands.common import JsonOption, command, share_the_processor
from limen.commands.options import described
from limen.errors import SpecError
from limen.lab.numerals import finite
from limen.lab.option import as_device, as_size


@command
@described
def inspect(
    model: Annotated[str, typer.Argument(help="A network of limen list, package.module:factory, or a study's folder.")],
    to: Annotated[str | None, typer.Option(help="Replace its activations first, such as asau or asau:beta=2.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A state dict to load: a .safetensors file, or what torch.save wrote.")
    ] = None,
    data: str = "digits",
    data_dir: Path | None = None,
    image_size: str | None = None,
    grey: bool = False,
    batch_size: Annotated[int, typer.Option(help="Images that are sent through the model.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the model's initial weights.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Draw every site's function to this file (.png, .svg, .pdf).")
    ] = None,
    device: str = "auto",
    as_json: JsonOption = False,
) -> None:
    """Send a batch of images through a model and describe every activation: what it receives, and what comes out.

    A study's folder, such as runs/first, shows what its networks have learned instead.
    """
    share_the_processor()
    if out is not None and out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise SpecError(f"--out {str(out)!r} is not possible: the file's name must end in .png, .svg or .pdf.")
    if (Path(model) / "study.json").exists():
        if to or weights or out:
            raise SpecError(
                f"{model} is a study, whose networks are trained; --to, --weights and --out are for models."
            )
        _learned(Path(model), as_json)
        return
    _check(batch_size, seed)
    _look(model, to, data)
    from limen.commands import inspecting
    from limen.inspect import curves, statistics

    network, batch = inspecting.prepared(
        model,
        to=to,
        weights=weights,
        data=data,
        data_dir=data_dir,
        image_size=None if image_size is None else as_size(image_size),
        grey=grey,
        batch_size=batch_size,
        seed=seed,
        device=as_device(device),
    )
    found = statistics(network, batch)
    if out is not None:
        inspecting.save(curves(network, batch), out)
    if as_json:
        rows = [site.as_dict() for site in found]
        _print_json(
            {"model": model, "to": to, "weights": _text(weights), "data": data, "sites": rows, "curves": _text(out)}
        )
        return
    from rich.console import Console

    for table in inspecting.tables(found, f"{model} · {data}, {len(batch)} images"):
        Console().print(table)
    if weights is None:
        print("These are initial weights; --weights FILE loads trained ones.")
    if out is not None:
        print(f"Curves: {out}")


def _look(model: str, to: str | None, data: str) -> None:
    """Raise for a name that does not exist, before torch is imported."""
    from limen.lab import networks
    from limen.lab.data.named import check_set_or_path

    networks.check_name(model, networks.NETWORKS)
    check_specs([to] if to else [])
    check_set_or_path(data)


def _check(batch_size: int, seed: int) -> None:
    if batch_size < 2:
        raise SpecError(f"--batch-size {batch_size} is not possible: give 2 or more.")
    if not 0 <= seed < 2**32:
        raise SpecError(f"--seed {seed} is not possible: give a number from 0 to {2**32 - 1:,}.")


def _learned(folder: Path, as_json: bool) -> None:
    """The parameters that a study's networks have learned, over its seeds."""
    from limen.commands import inspecting

    rows = inspecting.learned(folder)
    if as_json:
        _print_json({"study": str(folder), "sites": rows})
        return
    from rich.console import Console

    for table in inspecting.learned_tables(rows, str(folder)):
        Console().print(table)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(finite(value), indent=1))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
