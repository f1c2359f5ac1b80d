"""What ``limen inspect`` shows: a model on a batch of a data set, or what a study's networks have learned."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from limen.errors import SpecError, StudyError
from limen.inspect import SiteStatistics
from limen.lab import networks
from limen.lab.data import ByClass, Division, divide, evenly, load
from limen.lab.numerals import fixed
from limen.lab.statistics import interval
from limen.lab.study.store import StudyFolder
from limen.lab.training.batches import Batches
from limen.surgery import swap_


def prepared(
    model: str,
    *,
    to: str | None,
    weights: Path | None,
    data: str,
    data_dir: Path | None,
    image_size: tuple[int, int] | None,
    grey: bool,
    batch_size: int,
    seed: int,
    device: str,
) -> tuple[nn.Module, Tensor]:
    """The model, its activations replaced and its weights loaded, and a batch of the data's test images.

    Raises:
        SpecError: if the model cannot be built, or the weights are not its own.
    """
    networks.find(model)  # before the data are read
    found = load(data, data_dir=data_dir, image_size=image_size, grey=grey)
    images = divide(found, Division(), ByClass())
    network = networks.build(model, images.image_shape, len(images.classes), seed)
    if to is not None:
        swap_(network, to)
    if weights is not None:
        load_weights(network, weights)
    batch, _ = next(iter(Batches(evenly(images.tested, batch_size), batch_size, device=device)))
    return network.to(device), batch


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a state dict without running anything that the file says.

    Raises:
        SpecError: naming what is wrong with the file, or the first tensors that do not fit.
    """
    state = _read(path)
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
    try:
        network.load_state_dict(dict(state))
    except (RuntimeError, TypeError) as error:
        # The first line says of which class, the next ones what is missing, superfluous or of another shape.
        first = " ".join(str(error).split())[:200]
        raise SpecError(f"the weights {path} are not those of this model ({first}); is --to the activation?") from None


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise SpecError(f"there is no file of weights at {path}.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        _check_packed(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (ModuleNotFoundError, SpecError):
        raise
    except Exception as error:  # damaged files fail in many ways
        raise SpecError(
            f"the weights {path} cannot be read ({type(error).__name__}): the file is damaged, or holds more than "
            "tensors; save model.state_dict() with torch.save or as .safetensors."
        ) from None
    if not isinstance(state, Mapping):
        raise SpecError(f"the weights {path} are {type(state).__name__}, not a state dict; save model.state_dict().")
    for key in state:
        if not isinstance(key, str):
            raise SpecError(f"the weights {path} have {key!r} where a tensor's name belongs; save model.state_dict().")
    return state


def _check_packed(path: Path) -> None:
    """Raise for an archive that unpacks to more than it is: torch.save packs nothing."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        held = sum(info.file_size for info in archive.infolist())
    if held > path.stat().st_size:
        raise SpecError(
            f"the weights {path} unpack to {held:,} bytes, more than the file has; save model.state_dict() with "
            "torch.save or as .safetensors."
        )


def save(axes: Axes, path: Path) -> None:
    """Write the figure that the axes belong to."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def tables(found: Sequence[SiteStatistics], title: str) -> list[Table]:
    """One row a site; its percentiles and parameters in a table of their own, so that both fit 80 columns."""
    out = _ruled(title, ("site",), ("mean", "sd", "skew", "kurt", "normal", "zero %", "flat %"))
    for site in found:
        numbers = (site.mean, site.deviation, site.skewness, site.kurtosis)
        parts = (100 * site.output_zero, 100 * site.flat)
        normal = fixed(site.normal_distance, 3)
        out.add_row(escape(site.path), *map(fixed, numbers), normal, *(fixed(value, 1) for value in parts))
    return [out, *([_parameters(found)] if any(site.parameters for site in found) else [])]


def _parameters(found: Sequence[SiteStatistics]) -> Table:
    threshold = any(site.kept == site.kept for site in found)
    out = _ruled(None, ("site",), ("k %", "kept %") if threshold else ())
    out.add_column("learned", overflow="fold")
    for site in found:
        kept = (fixed(site.percentile, 1), fixed(site.kept, 1)) if threshold else ()
        text = ", ".join(f"{name} {value:.3g}" for name, value in site.parameters.items())
        out.add_row(escape(site.path), *kept, escape(text))
    return out


def _ruled(title: str | None, names: Sequence[str], numbers: Sequence[str]) -> Table:
    out = Table(
        title=escape(title) if title else None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
        pad_edge=False,
    )  # fmt: skip
    for name in names:
        out.add_column(name, overflow="fold")
    for number in numbers:
        out.add_column(number, justify="right", no_wrap=True)
    return out


def learned(folder: Path) -> list[dict[str, Any]]:
    """Every learned parameter of every site in a study, the mean over channels, then over seeds.

    Raises:
        StudyError: if the folder's runs are not there.
    """
    home = StudyFolder(folder)
    study = home.read_study()
    runs = home.read_runs(study.settings) if study else ()
    values: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        for layer in run.layers:
            means = {name: sum(v) / len(v) for name, v in layer.parameters.items() if v}
            for name, value in {**layer.weights, **means}.items():
                values.setdefault((run.activation, layer.path, name), []).append(value)
    if not runs:
        raise StudyError(
            f"{folder} holds no finished run; limen inspect reads a study's own folder, not its stored rows."
        )
    rows = []
    for (activation, path, name), seeds in values.items():
        found = interval(seeds)
        place = {"activation": activation, "path": path, "parameter": name}
        rows.append({**place, "mean": found.mean, "low": found.low, "high": found.high, "seeds": len(seeds)})
    return rows


def learned_tables(rows: Sequence[Mapping[str, Any]], title: str) -> list[Table]:
    """A table an activation, one row a parameter of a site."""
    found = []
    for activation in dict.fromkeys(row["activation"] for row in rows):
        heading = f"{title} · {activation}, learned, 95 % over seeds"
        out = _ruled(heading, ("site", "parameter"), ("mean", "interval", "seeds"))
        for row in (row for row in rows if row["activation"] == activation):
            span = f"{fixed(row['low'], 4)} to {fixed(row['high'], 4)}" if row["low"] == row["low"] else "–"
            names = (escape(row["path"]), escape(row["parameter"]))
            out.add_row(*names, fixed(row["mean"], 4), span, str(row["seeds"]))
        found.append(out)
    return found
