"""The commands. Nothing heavy is imported before a command needs it, so that ``limen --help`` answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
except ModuleNotFoundError:
    print("limen: the commands need more packages; install them with: pip install 'limen[lab]'", file=sys.stderr)
    raise SystemExit(2) from None

from limen.commands import options
from limen.commands.claims import claims
from limen.commands.common import (
    JsonOption,
    command,
    command_line,
    device_of,
    folder_name,
    intensity_of,
    share_the_processor,
    show,
    study_settings,
)
from limen.commands.inspect import inspect
from limen.commands.reproduce import reproduce
from limen.commands.select import select
from limen.errors import SpecError

app = typer.Typer(
    name="limen",
    help="Activation functions that learn their shape, and a lab that finds out which one a model should use.",
    epilog="Example: limen compare --data digits --activations relu,ash,asau --out runs/first. "
    "With --debug, an error shows its traceback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line. ``--debug`` anywhere shows the traceback of an error."""
    app(args=[argument for argument in sys.argv[1:] if argument != "--debug"], prog_name="limen")


@app.command(epilog="Example: limen compare --data photos.zip --image-size 32 --network resnet20 --out runs/photos")
@command
def compare(
    data: options.Data = "digits",
    task: options.Task = "classification",
    target: options.Target = None,
    time: options.Time = None,
    window: options.Window = 20,
    ignore_label: options.IgnoreLabel = None,
    foreground: options.Foreground = False,
    intensity: options.Intensity = None,
    normal_class: options.NormalClass = None,
    split: options.SplitBy = "random",
    data_dir: options.DataDir = None,
    network: options.TaskNetwork = None,
    activations: Annotated[
        str, typer.Option(help="Activations to compare, such as relu,asau:beta=2.")
    ] = "relu,ash,asau,apalu,adact",
    baseline: Annotated[
        str | None, typer.Option(help="What the others are compared with; relu if listed, else the first.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each activation.")] = 3,
    epochs: options.Epochs = 15,
    out: options.Out = None,
    protocol: options.Protocol = "honest",
    batch_size: options.TaskBatchSize = None,
    eval_batch_size: options.TaskEvalBatchSize = None,
    learning_rate: options.TaskLearningRate = None,
    activation_lr: options.ActivationRate = None,
    weight_decay: options.WeightDecay = 0.0,
    image_size: options.ImageSize = None,
    grey: options.Grey = False,
    limit_train: options.LimitTrain = None,
    limit_test: options.LimitTest = None,
    validation_fraction: options.ValidationFraction = 0.1,
    test_fraction: options.TestFraction = 0.2,
    split_seed: options.SplitSeed = 0,
    channels_last: options.ChannelsLast = False,
    observe: options.Observe = "",
    device: options.Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train every activation with the same seeds and batches, and compare test scores and cost honestly.

    Writes runs.csv, summary.csv and report.html to the folder of the study, and resumes where it stopped.
    """
    share_the_processor()
    from limen.activations.registry import split_list
    from limen.commands import console
    from limen.lab.study.compare import compare as run_study
    from limen.lab.tasks import registry

    specs = split_list(activations)
    found = registry.find(task)
    defaults = found.defaults
    network = network or str(defaults["network"])
    settings = study_settings(
        task=task,
        data=data,
        target=target,
        time=time,
        window=window,
        ignore_label=ignore_label,
        foreground=foreground,
        intensity=intensity_of(intensity),
        normal_class=normal_class,
        split=split,
        data_dir=data_dir,
        image_size=image_size,
        grey=grey,
        limit_train=limit_train,
        limit_test=limit_test,
        network=network,
        activations=specs,
        baseline=baseline or ("relu" if "relu" in specs else next(iter(specs), "")),
        seeds=seeds,
        epochs=epochs,
        batch_size=defaults["batch_size"] if batch_size is None else batch_size,
        eval_batch_size=defaults["eval_batch_size"] if eval_batch_size is None else eval_batch_size,
        learning_rate=defaults.get("learning_rate", 1e-3) if learning_rate is None else learning_rate,
        activation_lr=activation_lr,
        weight_decay=weight_decay,
        channels_last=channels_last,
        protocol=protocol,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        observe=split_list(observe),
        device=device,
    )
    out = out or Path("runs") / folder_name(data, network)
    with console.ProgressListener(settings, found.measure) as listener:
        result = run_study(settings, out, listener, command=command_line())
    show(result, as_json)


app.command(epilog="Example: limen select --data digits --seeds 5 --out runs/selection")(select)


app.command(epilog="Example: limen reproduce adact-table1-fmnist --quick --out runs/table1")(reproduce)


app.command(epilog="Example: limen claims --markdown docs/results/claims.md")(claims)


@app.command(epilog="Example: limen report runs/first")
@command
def report(
    out: Annotated[list[Path], typer.Argument(help="Folder of a study; several, with --markdown or --store.")],
    markdown: Annotated[
        Path | None, typer.Option(help="Write a page of reproductions, published beside measured, to this file.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of that page.")] = "Published and measured",
    store: Annotated[
        Path | None,
        typer.Option(help="Keep each study's rows, without paths of this machine, in a folder of this one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the tables and the report of a study again from its stored runs, finished or not."""
    if store is not None or markdown is not None:
        written = [*_rows_kept(out, store), *_page(out, markdown, title)]
        if as_json:
            print(json.dumps({kind: [str(path) for what, path in written if what == kind] for kind, _ in written}))
            return
        for what, path in written:
            print(f"{what.capitalize()}: {path}")
        return
    from limen.lab.study import result, rows

    if len(out) > 1:
        raise SpecError(
            f"limen report makes one study's report again, and {len(out)} were named; add --markdown FILE "
            "or --store FOLDER."
        )
    if rows.is_stored(out[0]) and (out[0] / "study.json").exists():
        raise SpecError(
            f"{out[0]} holds the stored rows of a study, of which no report is made; limen claims and limen report "
            "--markdown FILE read them."
        )
    show(result.report(out[0]), as_json)


def _rows_kept(studies: list[Path], home: Path | None) -> list[tuple[str, Path]]:
    if home is None:
        return []
    from limen.lab.study import rows

    return [("rows", rows.keep(found, home)) for found in rows.find(studies)]


def _page(studies: list[Path], file: Path | None, title: str) -> list[tuple[str, Path]]:
    if file is None:
        return []
    from limen.lab.papers import page as reproduction_page
    from limen.lab.papers import reproduce as reproducing
    from limen.lab.study.store import write_atomically

    write_atomically(file, reproduction_page.markdown([reproducing.read(folder) for folder in studies], title))
    return [("page", file)]


@app.command(epilog="Example: limen swap my_package.models:build --to asau --keep 'head.*' --json")
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
    from limen.surgery import swap_

    count = int(num_parameters) if num_parameters and num_parameters.isdigit() else num_parameters
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


app.command(epilog="Example: limen inspect convnet --to asau --data digits --out curves.png")(inspect)


@app.command("list", epilog="Example: limen list --json")
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


@app.command(epilog="Example: limen doctor --json")
@command
def doctor(
    clear_cache: Annotated[bool, typer.Option("--clear-cache", help="Remove the compiled kernels first.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which versions and devices are here, and by which path activations are computed and why."""
    from limen.diagnosis import diagnose

    if clear_cache:
        from limen.kernels.c.build import clear_cache as clear

        print(f"removed {clear()} files of compiled kernels", file=sys.stderr)
    found = diagnose()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for section, entries in found.items():
        print(section)
        for name, value in entries.items():
            print(f"  {name:<14} {value}")


@app.command(epilog="Example: limen bench --activations swish,asau,ash --elements 1000000 --json")
@command
def bench(
    activations: Annotated[
        str, typer.Option(help="Activations to time; all that keep their input's shape if left out.")
    ] = "",
    elements: Annotated[int, typer.Option(help="Elements of the input.")] = 4_000_000,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    rounds: Annotated[int, typer.Option(help="Rounds; each times every contender once.")] = 15,
    with_compile: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Also time the plain formula under torch.compile.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="Write the rows to this file as JSON, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Time forward, backward and both against F.silu, torch's own, eager torch and torch.compile, interleaved."""
    from limen import bench as timing
    from limen.activations.registry import create, names, split_list

    specs = split_list(activations) or tuple(name for name in names() if create(name).keeps_shape)
    paths = [path for path in timing.PATHS if with_compile or path != "compile"]
    with _bench_progress() as listener:
        rows, bandwidth = timing.measure(
            specs,
            elements=elements,
            dtype=_dtype(dtype),
            device=device_of(device),
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
    text = json.dumps(found, indent=1)
    if out:
        from limen.lab.study.store import write_atomically

        write_atomically(out, text + "\n")
    if as_json:
        print(text)
        return
    print(timing.table(rows, bandwidth))
    for note in timing.kernel_notes(specs, device_of(device)):
        print(note)


@contextmanager
def _bench_progress() -> Iterator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda done, total, what: progress.update(task, completed=done, total=total, description=what)


def _dtype(name: str) -> Any:
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
    if name not in known:
        raise SpecError(f"--dtype {name!r} is not one of {', '.join(known)}.")
    return known[name]


def _lab_names() -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Empty without the lab's packages: the activations can be listed all the same."""
    try:
        from limen.lab import data, networks
        from limen.lab.tasks import registry
    except ModuleNotFoundError:
        return [], [], []
    known = (registry.find(name) for name in registry.names())
    described = [{"name": task.name, "about": task.about, "networks": list(task.networks)} for task in known]
    return list(networks.NETWORKS), list(data.names()), described


if __name__ == "__main__":
    main()
