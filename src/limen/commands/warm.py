"""``limen warm``: build kernels ahead, for where there will be no compiler."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from limen.catalogue import check_specs, entries
from limen.commands.common import JsonOption, command
from limen.errors import SpecError, suggest

if TYPE_CHECKING:
    from limen.warming import Call


@command
def warm(
    what: Annotated[
        list[str], typer.Argument(help="Activations such as asau or asau:beta=2, or models as for limen swap.")
    ],
    to: Annotated[str | None, typer.Option(help="Replace the activations of models first, such as asau.")] = None,
    channels: Annotated[bool, typer.Option("--channels", help="For one parameter a channel too.")] = False,
    dtypes: Annotated[str, typer.Option(help="Types of inputs, separated by commas.")] = "float32,bfloat16,float16",
    image_size: Annotated[str, typer.Option(help="Size of a model's images: 32, or 32x48.")] = "32",
    grey: Annotated[bool, typer.Option("--grey", help="A model's images have one channel.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the kernels of activations, or of all those in a model, and keep them in the cache.

    They are used afterwards where no compiler is, on the same processor.
    """
    for one in what:
        _look(one)
    check_specs([to] if to else [])
    from limen.warming import DTYPES
    from limen.warming import warm as build_all

    types = tuple(filter(None, (part.strip() for part in dtypes.split(","))))
    for name in types or (dtypes,):
        if name not in DTYPES:
            raise SpecError(f"--dtypes {dtypes!r} is not possible: {name!r} has no kernels. {suggest(name, DTYPES)}")
    shape = _shape(image_size, grey)
    calls = [call for one in what for call in _calls(one, to, channels, shape)]
    loaded, without = build_all(calls, types)
    _show([(one.name, one.seconds, one.compiled) for one in loaded], without, as_json)


def _look(what: str) -> None:
    """Raise for what is neither an activation nor a network, before torch is imported."""
    from limen.lab import networks

    if what.partition(":")[0] in entries():
        check_specs([what])
    elif "limen.activations" not in sys.modules and what not in networks.NETWORKS and ":" not in what:
        raise _unknown(what, entries())


def _unknown(what: str, activations: Iterable[str]) -> SpecError:
    from limen.lab import networks

    known = suggest(what, (*activations, *networks.NETWORKS))
    return SpecError(f"{what!r} is neither an activation nor a network. {known}")


def _shape(image_size: str, grey: bool) -> tuple[int, int, int]:
    from limen.lab.option import as_size

    return (1 if grey else 3, *as_size(image_size))


def _calls(what: str, to: str | None, channels: bool, shape: tuple[int, int, int]) -> list[Call]:
    from limen.activations.registry import create, names
    from limen.warming import CHANNELS, calls_of

    if what.partition(":")[0] not in names():
        return _calls_in_model(what, to, channels, shape)
    activations = [create(what)]
    if channels and list(activations[0].parameters()):
        activations.append(create(what, num_parameters=CHANNELS))
    return [call for activation in activations for call in calls_of(activation)]


def _calls_in_model(what: str, to: str | None, channels: bool, shape: tuple[int, int, int]) -> list[Call]:
    import torch

    from limen.activations.registry import names
    from limen.lab import networks
    from limen.surgery import swap_
    from limen.warming import calls_in

    try:
        networks.find(what)
    except SpecError:
        if ":" in what:
            raise
        raise _unknown(what, names()) from None
    model = networks.build(what, shape, 10, seed=0).eval()
    if to is not None:
        swap_(model, to, num_parameters="channel" if channels else None)
    calls = calls_in(model, torch.zeros(2, *shape))
    if not calls:
        raise SpecError(f"{what} calls no activation of limen's; --to NAME replaces those that it has.")
    return calls


def _show(kernels: list[tuple[str, float, bool]], without: dict[str, str], as_json: bool) -> None:
    from limen.kernels.c.build import cache_folder, cache_size

    if as_json:
        rows = [{"kernel": name, "seconds": seconds, "compiled": compiled} for name, seconds, compiled in kernels]
        print(json.dumps({"folder": str(cache_folder()), "kernels": rows, "without": without}, indent=1))
        return
    for name, seconds, compiled in kernels:
        print(f"{name:<56} {f'{seconds:.2f} s' if compiled else 'there already'}")
    for name, reason in without.items():
        print(f"{name:<56} no kernel: {reason}")
    made = [seconds for _, seconds, compiled in kernels if compiled]
    files, size = cache_size()
    print(f"{len(made)} kernels compiled in {sum(made):.1f} s, {len(kernels) - len(made)} there already")
    print(f"{cache_folder()} holds {files} files, {size / 1e6:.1f} MB")
