"""The commands. Nothing heavy is imported before a command needs it, so that ``limen --help`` answers at once."""

from __future__ import annotations

import sys

try:
    import typer
except ModuleNotFoundError:
    print("limen: the commands need more packages; install them with: pip install 'limen[lab]'", file=sys.stderr)
    raise SystemExit(2) from None

from limen.commands.bench import bench
from limen.commands.claims import claims
from limen.commands.compare import compare
from limen.commands.doctor import doctor
from limen.commands.inspect import inspect
from limen.commands.list import list_
from limen.commands.plot import plot
from limen.commands.report import report
from limen.commands.reproduce import reproduce
from limen.commands.select import select
from limen.commands.show import show
from limen.commands.swap import swap
from limen.commands.warm import warm

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


app.command(epilog="Example: limen compare --data photos.zip --image-size 32 --network resnet20 --out runs/photos")(
    compare
)
app.command(epilog="Example: limen select --data digits --seeds 5 --out runs/selection")(select)
app.command(epilog="Example: limen reproduce adact-table1-fmnist --quick --out runs/table1")(reproduce)
app.command(epilog="Example: limen claims --markdown docs/results/claims.md")(claims)
app.command(epilog="Example: limen report runs/first")(report)
app.command(epilog="Example: limen swap my_package.models:build --to asau --keep 'head.*' --json")(swap)
app.command(epilog="Example: limen inspect convnet --to asau --data digits --out curves.png")(inspect)
app.command(epilog="Example: limen show asau,mish --html shapes.html")(show)
app.command(epilog="Example: limen plot asau,mish,swish --out shapes.svg")(plot)
app.command("list", epilog="Example: limen list --json")(list_)
app.command(epilog="Example: limen doctor --json")(doctor)
app.command(epilog="Example: limen warm asau ash --dtypes float32,bfloat16")(warm)
app.command(epilog="Example: limen bench --activations swish,asau,ash --elements 1000000 --json")(bench)


if __name__ == "__main__":
    main()
