"""The commands. Nothing heavy is imported before a command needs it, so that ``limen --help`` answers at once."""

from __future__ import annotations

import errno
import functools
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

try:
    import typer
except ModuleNotFoundError:
    print("limen: the commands need more packages; install them with: pip install 'limen[lab]'", file=sys.stderr)
    raise SystemExit(2) from None

from limen.errors import LimenError, MissingExtraError, SpecError

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

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


def main() -> None:
    """Run the command line. ``--debug`` anywhere shows the traceback of an error."""
    app(args=[argument for argument in sys.argv[1:] if argument != "--debug"], prog_name="limen")


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn what can go wrong into one sentence and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except BrokenPipeError:
            # Whoever read our output, such as head, has had enough; Python must not try to flush the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (LimenError, OSError, ModuleNotFoundError) as error:
            if "--debug" in sys.argv:
                raise
            _fail(_sentence(error), EXIT_BAD_INPUT)
        except KeyboardInterrupt:
            _fail("interrupted; finished runs are kept, and the same command continues.", EXIT_INTERRUPTED)

    return guarded


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"limen: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, LimenError):
        package = str(error.name).partition(".")[0]
        return str(MissingExtraError(f"this needs {package}; install it with: pip install 'limen[lab]'"))
    if not isinstance(error, OSError):
        return str(error)
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full, writing{where} failed; free some space and give the same command, nothing is lost."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write or read{where}; choose another folder or change its permissions."
    return f"{error.strerror or error}{where}."


@app.command(epilog="Example: limen compare --data photos.zip --image-size 32 --network resnet20 --out runs/photos")
@_command
def compare(
    data: Annotated[str, typer.Option(help="Built-in name, or a folder / .zip / .tar.gz of class folders.")] = "digits",
    data_dir: Annotated[Path | None, typer.Option(help="Where built-in sets lie or are downloaded to.")] = None,
    network: Annotated[str, typer.Option(help="convnet, mlp, resnet20, or package.module:factory.")] = "convnet",
    activations: Annotated[
        str, typer.Option(help="Activations to compare, such as relu,asau:beta=2.")
    ] = "relu,ash,asau,apalu,adact",
    baseline: Annotated[
        str | None, typer.Option(help="What the others are compared with; relu if listed, else the first.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each activation.")] = 3,
    epochs: Annotated[int, typer.Option(help="Epochs of each run.")] = 15,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; resumed if there. Default: runs/DATA-NETWORK.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="honest: a validation split chooses the epoch; paper: the test set does.")
    ] = "honest",
    batch_size: Annotated[int, typer.Option(help="Images in a training step.")] = 64,
    eval_batch_size: Annotated[int, typer.Option(help="Images in a test step.")] = 1000,
    learning_rate: Annotated[float, typer.Option("--lr", "--learning-rate", help="Adam's learning rate.")] = 1e-3,
    weight_decay: Annotated[float, typer.Option(help="Decoupled; never on activation parameters.")] = 0.0,
    image_size: Annotated[str | None, typer.Option(help="Resize images to 32 or 32x48 (height x width).")] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Read images as grey.")] = False,
    limit_train: Annotated[int | None, typer.Option(help="Use only so many training images, drawn by class.")] = None,
    limit_test: Annotated[int | None, typer.Option(help="Use only so many test images, drawn by class.")] = None,
    validation_fraction: Annotated[float, typer.Option(help="Part of the training images held out.")] = 0.1,
    test_fraction: Annotated[
        float, typer.Option(help="Part held out for testing where the data has no test set.")
    ] = 0.2,
    split_seed: Annotated[int, typer.Option(help="Seed of these splits.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train every activation with the same seeds and batches, and compare accuracy and cost honestly.

    Writes runs.csv, summary.csv and report.html to the folder of the study, and resumes where it stopped.
    """
    _share_the_processor()
    from limen.activations.registry import split_list
    from limen.lab import console, study

    specs = split_list(activations)
    if seeds < 1:
        raise SpecError(f"--seeds {seeds} is not possible: give the number of runs of each activation, 1 or more.")
    settings = _settings(
        data=data,
        data_dir=None if data_dir is None else str(data_dir),
        image_size=_image_size(image_size),
        grey=grey,
        limit_train=limit_train,
        limit_test=limit_test,
        network=network,
        activations=specs,
        baseline=baseline or ("relu" if "relu" in specs else next(iter(specs), "")),
        seeds=tuple(range(seeds)),
        epochs=epochs,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        protocol=protocol,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        device=_device(device),
    )
    out = out or Path("runs") / _folder_name(data, network)
    with console.ProgressListener(settings) as listener:
        result = study.compare(settings, out, listener, command=_command_line())
    _show(result, as_json)


@app.command(epilog="Example: limen report runs/first")
@_command
def report(
    out: Annotated[Path, typer.Argument(help="Folder of a study.")],
    as_json: JsonOption = False,
) -> None:
    """Make the tables and the report of a study again from its stored runs, finished or not."""
    from limen.lab import study

    _show(study.report(out), as_json)


@app.command(epilog="Example: limen swap my_package.models:build --to asau --keep 'head.*' --json")
@_command
def swap(
    model: Annotated[str, typer.Argument(help="convnet, mlp, resnet20, or package.module:factory.")],
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

    from limen.lab.swap_table import swap_tables

    console = Console()
    for table in swap_tables(report):
        console.print(table)
    print(str(report).partition("\n")[0])


@app.command("list", epilog="Example: limen list --json")
@_command
def list_(as_json: JsonOption = False) -> None:
    """List the activations (formula, learned parameters, source), networks and built-in data sets."""
    from dataclasses import asdict

    from limen.activations.describe import describe_all

    described = describe_all()
    networks, data = _networks_and_data()
    if as_json:
        everything = {"activations": [asdict(d) for d in described], "networks": networks, "data": data}
        print(json.dumps(everything, indent=1, ensure_ascii=False))
        return
    for item in described:
        learned = ", ".join(f"{name}={value:.4g}" for name, value in item.parameters.items())
        print(f"{item.name}\n    {item.formula}")
        print(f"    learned: {learned or 'nothing'}   source: {item.source}")
    print(f"networks: {', '.join(networks)}, or package.module:factory")
    print(f"data: {', '.join(data)}, or a folder, .zip or .tar.gz of class folders")


@app.command(epilog="Example: limen doctor --json")
@_command
def doctor(
    clear_cache: Annotated[bool, typer.Option("--clear-cache", help="Remove the compiled kernels first.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which versions and devices are here, and by which path activations are computed and why."""
    from limen.diagnosis import diagnose

    if clear_cache:
        from limen.kernels.build import clear_cache as clear

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
@_command
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
            device=_device(device),
            rounds=rounds,
            paths=paths,
            listener=listener,
        )
    found = {
        "command": _command_line(),
        "environment": timing.environment(),
        "copy_gigabytes_per_second": bandwidth.gigabytes_per_second,
        "rows": [row.as_dict() for row in rows],
    }
    text = json.dumps(found, indent=1)
    if out:
        from limen.lab.store import write_atomically

        write_atomically(out, text + "\n")
    if as_json:
        print(text)
        return
    print(timing.table(rows, bandwidth))
    for note in timing.kernel_notes(specs, _device(device)):
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


def _share_the_processor() -> None:
    """Let torch's waiting threads give up the processor early; must come before torch is imported.

    Small networks wait often. With one other busy process on two cores, the same study took 11 s with OpenMP's default
    and 2.4 s with this; alone, 1.8 s and 2.0 s.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _show(result: Any, as_json: bool) -> None:
    if as_json:
        from limen.lab.store import run_row

        found = {
            "summary": [row.model_dump() for row in result.summary],
            "runs": [run_row(run) for run in result.runs],
            "report": str(result.report),
        }
        print(json.dumps(_finite(found), indent=1))
    else:
        from rich.console import Console

        from limen.lab.console import print_result

        print_result(result, Console())
    if result.runs and len(result.failed) == len(result.runs):
        _fail("every run failed: the loss stopped being finite; try a smaller --lr.", EXIT_BAD_INPUT)


def _finite(value: Any) -> Any:
    """NaN and infinity are not JSON: null in their place."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _settings(**values: Any) -> Any:
    """Validated settings; a value out of range is named as the option it was given by."""
    from pydantic import ValidationError

    from limen.lab.settings import StudySettings

    try:
        return StudySettings(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        option = "--" + name.replace("_", "-")
        if name == "activations":
            raise SpecError("--activations must name at least one, such as relu,asau.") from None
        raise SpecError(f"{option} {problem['input']!r} is not possible: {problem['msg'].lower()}.") from None


def _image_size(text: str | None) -> tuple[int, int] | None:
    """Height and width from ``32`` or ``32x48``.

    >>> _image_size("32x48")
    (32, 48)
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise SpecError(f"--image-size {text!r} is not a size; give 32, or 32x48 for height x width.")
    return int(parts[0]), int(parts[-1])


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _folder_name(data: str, network: str) -> str:
    """A folder name from the data's and the network's.

    >>> _folder_name("../photos/cats.tar.gz", "my.nets:small")
    'cats-my.nets-small'
    """
    stem = Path(data).name.split(".")[0] or "data"
    return f"{stem}-{network.replace(':', '-').replace('/', '-')}"


def _command_line() -> str:
    return shlex.join(["limen", *sys.argv[1:]])


def _networks_and_data() -> tuple[list[str], list[str]]:
    """Empty without the lab's packages: the activations can be listed all the same."""
    try:
        from limen.lab import data, networks
    except ModuleNotFoundError:
        return [], []
    return list(networks.NETWORKS), list(data.names())


if __name__ == "__main__":
    main()
