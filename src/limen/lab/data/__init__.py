"""Data for the lab: built-in sets of images by name, anyone's own by path, and reproducible splits."""

from limen.lab.data.base import Data, Progress, Samples, evenly, fingerprint
from limen.lab.data.builtin import names
from limen.lab.data.by_class import ByClass
from limen.lab.data.division import Division, divide
from limen.lab.data.images import ImageData, Split
from limen.lab.data.source import load

__all__ = [
    "ByClass",
    "Data",
    "Division",
    "ImageData",
    "Progress",
    "Samples",
    "Split",
    "divide",
    "evenly",
    "fingerprint",
    "load",
    "names",
]
