"""The commands. What a command needs is imported when it is called for, so that ``limen --help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NamedTuple

try:
    import typer
except ModuleNotFoundError:
    print("limen: the commands need more packages; install them with: pip install 'limen[lab]'", file=sys.stderr)
    raise SystemExit(2) from None

from limen import collecting


class Command(NamedTuple):
    """What is said of a command before it is imported: as its docstring begins, and an example."""

    about: str
    example: str


COMMANDS = {
    "compare": Command(
        "Train every activation with the same seeds and batches, and compare test scores and cost honestly.",
        "limen compare --data photos.zip --image-size 32 --network resnet20 --out runs/photos",
    ),
    "select": Command(
        "Find the activation of each layer: train a mixture, take its winners, train the optimised network.",
        "limen select --data digits --seeds 5 --out runs/selection",
    ),
    "reproduce": Command(
        "Run a published experiment and hold its numbers against the paper's.",
        "limen reproduce adact-table1-fmnist --quick --out runs/table1",
    ),
    "claims": Command(
        "Judge every claim of the four papers by stored rows: confirmed, contradicted, equivalent, undecided, "
        "not tested.",
        "limen claims --markdown docs/results/claims.md",
    ),
    "report": Command(
        "Make the tables and the report of a study again from its stored runs, finished or not.",
        "limen report runs/first",
    ),
    "swap": Command(
        "Show which activations of a model would be replaced, which are kept and why, and which cannot be reached.",
        "limen swap my_package.models:build --to asau --keep 'head.*' --json",
    ),
    "inspect": Command(
        "Send a batch of images through a model and describe every activation: what it receives, and what comes out.",
        "limen inspect convnet --to asau --data digits --out curves.png",
    ),
    "show": Command(
        "Open a page on which activations are tried: sliders, curves, and what they do to a normal input.",
        "limen show asau,mish --html shapes.html",
    ),
    "plot": Command(
        "Draw the values and slopes of activations, beside each other, as a figure for a paper.",
        "limen plot asau,mish,swish --out shapes.svg",
    ),
    "list": Command(
        "List the activations (formula, learned parameters, source), tasks with their networks, built-in data sets.",
        "limen list --json",
    ),
    "doctor": Command(
        "Say which versions and devices are here, and by which path activations are computed and why.",
        "limen doctor --json",
    ),
    "warm": Command(
        "Build the kernels of activations, or of all those in a model, and keep them in the cache.",
        "limen warm asau ash --dtypes float32,bfloat16",
    ),
    "bench": Command(
        "Time forward, backward and both against F.silu, torch's own, eager torch and torch.compile, interleaved.",
        "limen bench --activations swish,asau,ash --elements 1000000 --json",
    ),
}


def main() -> None:
    """Run the command line. ``--debug`` anywhere shows the traceback of an error."""
    collecting.seldom()
    words = [argument for argument in sys.argv[1:] if argument != "--debug"]
    application(COMMANDS.keys() & words)(args=words, prog_name="limen")


def application(called: Iterable[str] = tuple(COMMANDS)) -> typer.Typer:
    """The commands, of which these can be called; of the others no more is there than what is said of them."""
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
    if not called:
        # Boxes around the list of commands took more than half of the time that --help took.
        app.rich_markup_mode = None
    for name, said in COMMANDS.items():
        function = _function(name) if name in called else _not_imported
        app.command(name, short_help=said.about, epilog=f"Example: {said.example}")(function)
    return app


def _function(name: str) -> Callable[..., Any]:
    module = import_module(f"limen.commands.{name}")
    found: Callable[..., Any] = getattr(module, "list_" if name == "list" else name)
    return found


def _not_imported() -> None:
    raise AssertionError("Only a command that was imported is called.")


if __name__ == "__main__":
    main()
