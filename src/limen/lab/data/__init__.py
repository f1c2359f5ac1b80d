"""Image data for the lab: built-in sets by name, anyone's own images by path, and reproducible splits."""

from limen.lab.data.base import ImageData, Progress, Samples, Split, TaskData, evenly, fingerprint
from limen.lab.data.builtin import names
from limen.lab.data.division import divide
from limen.lab.data.source import load

__all__ = [
    "ImageData",
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
