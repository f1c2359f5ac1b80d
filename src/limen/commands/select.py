"""``limen select``: which activation each layer should use, by a search with mixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limen.commands import options
from limen.commands.common import JsonOption, command, command_line, folder_name, share_the_processor, show
from limen.commands.common import study_settings as settings_from
from limen.errors import SpecError


@command
def select(
    data: options.Data = "digits",
    data_dir: options.DataDir = None,
    network: options.Network = "convnet",
    candidates: Annotated[
        str, typer.Option(help="What each layer chooses from, such as ash,asau,apalu,silu. Default: the paper's seven.")
    ] = "relu,elu,leaky_relu,prelu,rrelu,silu,mish",
    baseline: Annotated[str, typer.Option(help="The fixed activation that both are compared with.")] = "relu",
    rule: Annotated[
        str,
        typer.Option(help="largest: the largest weight; grouped: those that differ in slope only count as one."),
    ] = "largest",
    seeds: Annotated[int, typer.Option(help="How often the whole search is repeated.")] = 3,
    epochs: options.Epochs = 15,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the selection; resumed if there. Default: runs/select-DATA-NETWORK.")
    ] = None,
    temperature: Annotated[
        str | None, typer.Option(help="Cool the softmax, such as 1:0.1 (from:to). Default: 1 throughout.")
    ] = None,
    entropy: Annotated[
        str | None, typer.Option(help="Factor of the weights' entropy in the loss, such as 0:0.1 (from:to).")
    ] = None,
    sampling: Annotated[str, typer.Option(help="none, gumbel, straight_through or gumbel_straight_through.")] = "none",
    weights_from: Annotated[
        float | None, typer.Option(help="Learn the mixture's weights on this part of the training images only.")
    ] = None,
    drop_below: Annotated[
        float | None, typer.Option(help="After each epoch drop the candidates with less weight than this.")
    ] = None,
    protocol: options.Protocol = "honest",
    batch_size: options.BatchSize = 64,
    eval_batch_size: options.EvalBatchSize = 1000,
    learning_rate: options.LearningRate = 1e-3,
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
    device: options.Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the activation of each layer: train a mixture, take its winners, train the optimised network.

    For every seed three networks: the baseline, the mixture (adact), the network optimised by it (optimized). Writes
    plan.json, runs.csv, summary.csv and report.html to the folder, and resumes where it stopped.
    """
    share_the_processor()
    from limen.activations.registry import split_list
    from limen.commands import console
    from limen.lab.settings import OPTIMIZED, SEARCHED
    from limen.lab.study import select as selecting
    from limen.lab.tasks import registry

    settings = settings_from(
        "select",
        data=data,
        data_dir=data_dir,
        image_size=image_size,
        grey=grey,
        limit_train=limit_train,
        limit_test=limit_test,
        network=network,
        activations=(baseline, SEARCHED, OPTIMIZED),
        baseline=baseline,
        candidates=split_list(candidates),
        rule=rule,
        temperature=_ends("temperature", temperature),
        entropy=_ends("entropy", entropy) or (0.0, 0.0),
        sampling=sampling,
        weights_from=weights_from,
        drop_below=drop_below,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        learning_rate=learning_rate,
        activation_lr=activation_lr,
        weight_decay=weight_decay,
        channels_last=channels_last,
        protocol=protocol,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        device=device,
    )
    out = out or Path("runs") / f"select-{folder_name(data, network)}"
    with console.ProgressListener(settings, registry.find(settings.task).measure) as listener:
        result = selecting.select(settings, out, listener, command=command_line())
    show(result, as_json)


def _ends(option: str, text: str | None) -> tuple[float, float] | None:
    """Start and end of a schedule from ``1:0.1``, or one number for both.

    >>> _ends("temperature", "1:0.1")
    (1.0, 0.1)
    """
    if text is None:
        return None
    try:
        start, _, end = text.partition(":")
        return float(start), float(end or start)
    except ValueError:
        raise SpecError(f"--{option} {text!r} is not of the form from:to, such as 1:0.1.") from None
