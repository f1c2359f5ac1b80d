"""Image data for the lab: built-in sets by name, anyone's own images by path, and reproducible splits."""

from limen.lab.data.builtin import names
from limen.lab.data.numbers import NumberData, NumberSplit
from limen.lab.data.source import load
from limen.lab.data.splits import divide
from limen.lab.data.types import ImageData, Progress, Samples, Split, TaskData, evenly, fingerprint

__all__ = [
    "ImageData",
    "NumberData",
    "NumberSplit",
    "Progress",
    "Samples",
    "Split",
    "TaskData",
    "divide",
    "evenly",
    "fingerprint",
    "load",
    "names",
]
