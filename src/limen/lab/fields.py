"""Every setting of a study, declared once: its type and bounds, its default, its option on the command line.

:mod:`.settings` validates them and ``commands/`` makes its options of them. Nothing heavy is imported here: pydantic,
which reads the bounds, would make ``limen --help`` wait a quarter of a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from limen.lab.option import (
    LONGEST_EDGE,
    NOT_AN_OPTION,
    Option,
    as_device,
    as_ends,
    as_epochs,
    as_margin,
    as_names,
    as_range,
    as_seeds,
    as_size,
    as_specs,
    as_tuned,
    of_ends,
    of_epochs,
    of_names,
    of_range,
    of_seeds,
    of_size,
    of_specs,
)

if TYPE_CHECKING:
    from pydantic import BaseModel as Declarations  # what the settings are to whoever makes them
else:
    Declarations = object


class Finite:
    """Neither infinity nor NaN."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Tell pydantic."""
        return {**handler(source), "allow_inf_nan": False}


Count = Annotated[int, Ge(1), Le(10**9)]
Rate = Annotated[float, Gt(0), Finite()]
Fraction = Annotated[float, Gt(0), Lt(1)]
Ends = tuple[float, float]
Edge = Annotated[int, Ge(1), Le(LONGEST_EDGE)]
Orientation = Literal["header", "stored"]


class StudyFields(Declarations):
    """The settings of a comparison. The defaults are AdAct's published protocol (Adam 1e-3, batch 64/1000)."""

    data: Annotated[str, Option("Built-in name, or a folder / .zip / .tar.gz of class folders.", default="digits")]
    test_data: Annotated[
        str | None, Option("Other data of the same kind; all of it is tested beside the own test set.")
    ] = None
    task: Annotated[str, Option("One of the tasks of limen list, such as segmentation.")] = "classification"
    target: Annotated[str | None, Option("Column of the CSV file to predict.")] = None
    time: Annotated[str | None, Option("Column of dates that orders the rows. Default: found.")] = None
    """None: found by its name or its values."""
    drop: Annotated[
        tuple[str, ...],
        Option(
            "Columns of the CSV file to leave out, such as id,name; may be repeated.",
            given=list[str],
            read=as_names,
            write=of_names,
        ),
    ] = ()
    window: Annotated[
        int,
        Ge(2),
        Le(10**6),
        Option("Rows that a forecast is made from, or tokens of text. Default: the task's (20, 128).", of_task=True),
    ] = 20
    stride: Annotated[
        Annotated[int, Ge(1), Le(10**6)] | None,
        Option("Tokens from one training window to the next. Default: --window."),
    ] = None
    tokens: Annotated[str, Option("What a text is divided into: characters, bytes, or a tokenizer.json.")] = (
        "characters"
    )
    text: Annotated[str | None, Option("Column or key of the text, in rows of CSV or JSON. Default: text.")] = None
    ignore_label: Annotated[
        Annotated[int, Ge(0), Le(255)] | None, Option("Value of mask pixels that do not count, such as 255.")
    ] = None
    """None: 255 where masks have several classes."""
    foreground: Annotated[bool, Option("One class of every mask value but 0.")] = False
    intensity: Annotated[
        Ends | None,
        Option(
            "Values of a scan that are black and white. Default: CT -160,240; else percentiles.",
            given=str,
            read=as_range,
            write=of_range,
        ),
    ] = None
    orientation: Annotated[
        Orientation, Option("Masks and boxes lie as the files' headers say (NIfTI, EXIF), or as stored.")
    ] = "header"
    normal_class: Annotated[str | None, Option("The class that anomalies are told from.")] = None
    """None: as the folders say it."""
    split: Annotated[
        Literal["random", "blocks"], Option("random, or blocks of consecutive names (slices, frames).")
    ] = "random"
    data_dir: Annotated[str | None, Option("Where built-in sets lie or are downloaded to.", given=Path, read=str)] = (
        None
    )
    network: Annotated[
        str,
        Option(
            "One of limen list, timm:NAME, torchvision:NAME, or package.module:factory. Default: the task's.",
            of_task=True,
        ),
    ] = "convnet"
    activations: Annotated[
        tuple[str, ...],
        MinLen(1),
        Option(
            "Activations to compare, such as relu,asau:beta=2.",
            given=str,
            read=as_specs,
            write=of_specs,
            default="relu,ash,asau,apalu,adact",
            least="one, such as relu,asau",
        ),
    ]
    baseline: Annotated[str, Option("What the others are compared with; relu if listed, else the first.")]
    seeds: Annotated[
        tuple[int, ...],
        MinLen(1),
        Option(
            "Runs of each activation; auto: as many as its verdict takes, with --margin.",
            given=str,
            read=as_seeds,
            write=of_seeds,
            default=3,
        ),
    ]
    margin: Annotated[
        Rate | None,
        Option(
            "Differences below it do not matter: points of percents, else the measure's unit; default: its own. "
            "Verdicts are then better, worse, equivalent, undecided.",
            given=str,
            read=as_margin,
            write="{:g}".format,
        ),
    ] = None
    max_seeds: Annotated[
        Annotated[int, Ge(1), Le(10_000)] | None, Option("At most so many with --seeds auto. Default: 30.", given=int)
    ] = None
    """None: a fixed number of seeds. Else ``seeds`` are those from 0 up to it, of which as many are run as decide."""
    epochs: Annotated[int, Ge(1), Le(10**6), Option("Epochs of each run.")] = 15
    protocol: Annotated[
        Literal["honest", "paper", "both"],
        Option(
            "honest: a validation split chooses the epoch; paper: the test set does; both: as honest, and the best "
            "test epoch is noted beside."
        ),
    ] = "honest"
    """``both``: as honest, and after every epoch the test accuracy is noted as well, which chooses nothing."""
    batch_size: Annotated[
        int, Ge(2), Le(10**9), Option("Examples in a training step. Default: the task's (64 images).", of_task=True)
    ] = 64
    """At least 2, because batch normalisation has no variance over a single image."""
    eval_batch_size: Annotated[
        Count, Option("Examples in a test step. Default: the task's (1000 images).", of_task=True)
    ] = 1000
    learning_rate: Annotated[
        Rate,
        Option(
            "Learning rate. Default: the task's (1e-3); 0.1 with sgd.", flags=("--lr", "--learning-rate"), of_task=True
        ),
    ] = 1e-3
    activation_lr: Annotated[Rate | None, Option("Learning rate of the activations alone. Default: --lr.")] = None
    weight_decay: Annotated[
        float, Ge(0), Finite(), Option("Decoupled with adamw, else L2; never on activation parameters.")
    ] = 0.0
    optimizer: Annotated[
        Literal["adam", "adamw", "sgd"],
        Option("adamw; adam, whose weight decay is part of the gradient, as that of sgd is."),
    ] = "adamw"
    """Without weight decay adam and adamw are the same."""
    momentum: Annotated[float, Ge(0), Lt(1), Option("Of sgd, such as 0.9.")] = 0.0
    nesterov: Annotated[bool, Option("Nesterov's momentum, of sgd.")] = False
    schedule: Annotated[
        Literal["constant", "cosine", "step", "one-cycle"],
        Option("How the learning rate goes: constant, cosine, step or one-cycle."),
    ] = "constant"
    warmup: Annotated[float, Ge(0), Finite(), Option("Epochs in which it rises from 0, such as 1 or 0.5.")] = 0.0
    milestones: Annotated[
        tuple[Annotated[int, Ge(1)], ...],
        Option(
            "Epochs after which --schedule step multiplies it by --factor. Default: half and three quarters.",
            given=str,
            read=as_epochs,
            write=of_epochs,
        ),
    ] = ()
    factor: Annotated[Fraction, Option("What --schedule step multiplies it by.")] = 0.1
    augment: Annotated[
        Literal["none", "flip", "crop+flip", "randaugment-like", "mosaic"],
        Option(
            "Change training images: none, flip, crop+flip, randaugment-like or, with boxes, mosaic; alike for every "
            "activation."
        ),
    ] = "none"
    label_smoothing: Annotated[
        float, Ge(0), Lt(1), Option("Part of each label that is shared by all classes while it trains, such as 0.1.")
    ] = 0.0
    clip: Annotated[Rate | None, Option("Largest norm of a step's gradient; longer ones are shortened to it.")] = None
    ema: Annotated[
        Fraction | None, Option("Measure the moving average of the weights with this decay a step, such as 0.99.")
    ] = None
    tune: Annotated[
        tuple[Literal["lr", "weight-decay", "activation-lr"], ...],
        Option(
            "Find each activation's own lr, or lr,weight-decay,activation-lr, on validation data; it is then compared "
            "at the shared ones and at its own.",
            given=str,
            read=as_tuned,
            write=of_specs,
            default="",
        ),
    ] = ()
    trials: Annotated[
        Annotated[int, Ge(1), Le(1000)] | None, Option("Runs that --tune tries of each activation. Default: 9.")
    ] = None
    trial_seeds: Annotated[
        int,
        Ge(1),
        Le(100),
        Option(
            "Seeds that a rate must hold up with before --tune chooses it: the best so far is tried again with "
            "another, until the best has had all."
        ),
    ] = 1
    own: Annotated[tuple[str, ...], NOT_AN_OPTION] = ()
    """Of each activation that was tuned what its runs at its own rates are called (:mod:`.rates`)."""
    image_size: Annotated[
        tuple[Edge, Edge] | None,
        Option("Resize images to 32 or 32x48 (height x width).", given=str, read=as_size, write=of_size),
    ] = None
    grey: Annotated[bool, Option("Read images as grey.")] = False
    limit_train: Annotated[Count | None, Option("Use only so many training images, drawn by class.")] = None
    limit_test: Annotated[Count | None, Option("Use only so many test images, drawn by class.")] = None
    validation_fraction: Annotated[Fraction, Option("Part of the training images held out.")] = 0.1
    test_fraction: Annotated[Fraction, Option("Part held out for testing where the data has no test set.")] = 0.2
    split_seed: Annotated[int, Ge(0), Lt(2**32), Option("Seed of these splits.")] = 0
    channels_last: Annotated[bool, Option("Channels innermost: faster convolutions.")] = False
    """Keep weights and feature maps with channels innermost, which rounds otherwise."""
    observe: Annotated[
        tuple[Literal["gradients", "inputs"], ...],
        Option(
            "Note in every run: gradients (by depth, while it trains), inputs (of its activations).",
            given=str,
            read=as_specs,
            write=of_specs,
            default="",
        ),
    ] = ()
    threads_per_run: Annotated[
        int, Ge(1), Le(1024), Option("Threads of each run, which may change its last digits. Default: 1.", given=int)
    ] = 1
    """Part of the numbers: how a sum or a convolution is shared among threads decides how it is rounded."""
    device: Annotated[str, Option("cpu, cuda, cuda:1, mps, or auto.", read=as_device, default="auto")] = "cpu"
    devices: Annotated[int, Ge(1), Le(10**4), Option("Devices that train each run together, a process each.")] = 1
    """They share every batch, so that more of them change how sums are rounded and nothing else."""
    strategy: Annotated[
        Literal["auto", "ddp", "fsdp"],
        Option("How they do it: ddp, each with all weights; fsdp, each with a part. Default: auto, which is ddp."),
    ] = "auto"
    precision: Annotated[
        Literal["32", "bf16-mixed", "16-mixed"], Option("32, bf16-mixed, or on a GPU 16-mixed; weights stay 32.")
    ] = "32"
    accumulate: Annotated[int, Ge(1), Le(10**6), Option("Batches whose gradients are averaged in one step.")] = 1
    compile: Annotated[bool, Option("Translate each run's network by torch.compile.")] = False
    checkpoint_every: Annotated[
        Count | None, Option("Epochs after which a run is kept, to go on from when it is interrupted.")
    ] = None
    log: Annotated[
        tuple[Literal["tensorboard", "mlflow", "wandb"], ...],
        Option(
            "Log each run to tensorboard, mlflow or wandb as well.",
            given=str,
            read=as_specs,
            write=of_specs,
            default="",
        ),
    ] = ()


class SelectFields(StudyFields):
    """The settings of a selection: those of a comparison, and how it searches."""

    kind: Annotated[Literal["select"], NOT_AN_OPTION]
    activations: Annotated[tuple[str, ...], MinLen(1), NOT_AN_OPTION]
    candidates: Annotated[
        tuple[str, ...],
        MinLen(2),
        Option(
            "What each layer chooses from, such as ash,asau,apalu,silu. Default: the paper's seven.",
            given=str,
            read=as_specs,
            write=of_specs,
            default="relu,elu,leaky_relu,prelu,rrelu,silu,mish",
            after="network",
            least="two, such as relu,silu,mish",
        ),
    ]
    baseline: Annotated[str, Option("The fixed activation that both are compared with.", default="relu")]
    rule: Annotated[
        Literal["largest", "grouped"],
        Option("largest: the largest weight; grouped: those that differ in slope only count as one.", after="baseline"),
    ] = "largest"
    tune: Annotated[
        tuple[Literal["lr", "weight-decay", "activation-lr"], ...],
        Option("Of limen compare alone.", given=str, read=as_tuned, write=of_specs, default="", hidden=True),
    ] = ()
    trials: Annotated[int | None, Option("Of limen compare alone.", hidden=True)] = None
    trial_seeds: Annotated[int, Ge(1), Le(100), Option("Of limen compare alone.", hidden=True)] = 1
    seeds: Annotated[
        tuple[int, ...],
        MinLen(1),
        Option(
            "How often the whole search is repeated; auto: as often as the verdicts take, with --margin.",
            given=str,
            read=as_seeds,
            write=of_seeds,
            default=3,
        ),
    ]
    temperature: Annotated[
        Ends | None,
        Option(
            "Cool the softmax, such as 1:0.1 (from:to). Default: 1 throughout.",
            given=str,
            read=as_ends("temperature"),
            write=of_ends,
            after="epochs",
        ),
    ] = None
    """Start and end of a geometric schedule."""
    entropy: Annotated[
        Ends,
        Option(
            "Factor of the weights' entropy in the loss, such as 0:0.1 (from:to).",
            given=str,
            read=as_ends("entropy"),
            write=of_ends,
            after="temperature",
        ),
    ] = (0.0, 0.0)
    """Start and end of a straight line."""
    sampling: Annotated[
        Literal["none", "gumbel", "straight_through", "gumbel_straight_through"],
        Option("none, gumbel, straight_through or gumbel_straight_through.", after="entropy"),
    ] = "none"
    weights_from: Annotated[
        Fraction | None,
        Option("Learn the mixture's weights on this part of the training images only.", after="sampling"),
    ] = None
    """On that part the network's own weights do not learn; None: both learn from all."""
    drop_below: Annotated[
        Fraction | None,
        Option("After each epoch drop the candidates with less weight than this.", after="weights_from"),
    ] = None
