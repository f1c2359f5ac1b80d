"""The options of every command that runs a study, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[str, typer.Option(help="Built-in name, or a folder / .zip / .tar.gz of class folders.")]
DataDir = Annotated[Path | None, typer.Option(help="Where built-in sets lie or are downloaded to.")]
Network = Annotated[str, typer.Option(help="convnet, resnet20, wrn-16-2, …, timm:NAME, or package.module:factory.")]
Task = Annotated[str, typer.Option(help="One of the tasks of limen list, such as segmentation.")]
Target = Annotated[str | None, typer.Option(help="Column of the CSV file to predict.")]
Time = Annotated[str | None, typer.Option(help="Column of dates that orders the rows. Default: found.")]
Window = Annotated[int, typer.Option(help="Rows that a forecast is made from.")]
IgnoreLabel = Annotated[int | None, typer.Option(help="Value of mask pixels that do not count, such as 255.")]
Foreground = Annotated[bool, typer.Option("--foreground", help="One class of every mask value but 0.")]
Intensity = Annotated[
    str | None, typer.Option(help="Values of a scan that are black and white. Default: CT -160,240; else percentiles.")
]
NormalClass = Annotated[str | None, typer.Option(help="The class that anomalies are told from.")]
SplitBy = Annotated[str, typer.Option("--split", help="random, or blocks of consecutive names (slices, frames).")]
TaskNetwork = Annotated[
    str | None,
    typer.Option(
        "--network",
        help="One of limen list, timm:NAME, torchvision:NAME, or package.module:factory. Default: the task's.",
    ),
]
Epochs = Annotated[int, typer.Option(help="Epochs of each run.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the study; resumed if there. Default: runs/DATA-NETWORK.")]
Protocol = Annotated[
    str,
    typer.Option(
        help="honest: a validation split chooses the epoch; paper: the test set does; both: as honest, and the best "
        "test epoch is noted beside."
    ),
]
BatchSize = Annotated[int, typer.Option(help="Images in a training step.")]
EvalBatchSize = Annotated[int, typer.Option(help="Images in a test step.")]
TaskBatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Examples in a training step. Default: the task's (64 images).")
]
TaskEvalBatchSize = Annotated[
    int | None, typer.Option("--eval-batch-size", help="Examples in a test step. Default: the task's (1000 images).")
]
LearningRate = Annotated[float, typer.Option("--lr", "--learning-rate", help="Adam's learning rate.")]
TaskLearningRate = Annotated[
    float | None, typer.Option("--lr", "--learning-rate", help="Adam's learning rate. Default: the task's (1e-3).")
]
ActivationRate = Annotated[
    float | None,
    typer.Option("--activation-lr", help="Learning rate of the activations alone. Default: --lr."),
]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Channels innermost: faster convolutions.")]
WeightDecay = Annotated[float, typer.Option(help="Decoupled; never on activation parameters.")]
ImageSize = Annotated[str | None, typer.Option(help="Resize images to 32 or 32x48 (height x width).")]
Grey = Annotated[bool, typer.Option("--grey", help="Read images as grey.")]
LimitTrain = Annotated[int | None, typer.Option(help="Use only so many training images, drawn by class.")]
LimitTest = Annotated[int | None, typer.Option(help="Use only so many test images, drawn by class.")]
ValidationFraction = Annotated[float, typer.Option(help="Part of the training images held out.")]
TestFraction = Annotated[float, typer.Option(help="Part held out for testing where the data has no test set.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of these splits.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")]
Observe = Annotated[
    str, typer.Option(help="Note in every run: gradients (by depth, while it trains), inputs (of its activations).")
]
