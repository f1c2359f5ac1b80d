"""``limen swap``: what a swap would do to a model."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from limen.catalogue import check_specs
from limen.commands.common import JsonOption, command


@command
def swap(
    model: Annotated[
        str, typer.Argument(help="One of limen list, timm:NAME, torchvision:NAME, or package.module:factory.")
    ],
    to: Annotated[str, typer.Option(help="The activation, such as asau or asau:beta=2.")],
    where: Annotated[
        list[str] | None, typer.Option(help="Only sites whose path fits, such as 'layer1.*'; may be repeated.")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Sites to leave as they are; may be repeated.")] = None,
    share: Annotated[str, typer.Option(help="site: one object a site; instance: one for each object before.")] = "site",
    num_parameters: Annotated[
        str | None, typer.Option(help="Parameters of each activation: a number, or 'channel'.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which activations of a model would be replaced, which are kept and why, and which cannot be reached.

    The model is built and thrown away; nothing is written.
    """
    from typing import cast

    from limen.lab import networks

    networks.check_name(model, networks.NETWORKS)
    check_specs([to])
    from limen.surgery import swap_

    count = int(num_parameters) if num_parameters and re.fullmatch("[0-9]{1,20}", num_parameters) else num_parameters
    network = networks.build(model, (3, 32, 32), 10, seed=0)
    report = swap_(
        network,
        to,
        where=where or None,
        keep=tuple(keep or ()),
        share=cast("Any", share),
        num_parameters=cast("Any", count),
    )
    if as_json:
        print(json.dumps({"model": model, "to": to, **report.as_dict()}, indent=1))
        return
    from rich.console import Console

    from limen.commands.swap_table import swap_tables

    console = Console()
    for table in swap_tables(report):
        console.print(table)
    print(str(report).partition("\n")[0])
