"""Data for the lab: built-in sets of images by name, anyone's own by path, and reproducible splits."""

from typing import TYPE_CHECKING

from limen.lazily import attributes

if TYPE_CHECKING:
    from limen.lab.data.base import Data, Progress, Samples, evenly, fingerprint
    from limen.lab.data.by_class import ByClass
    from limen.lab.data.division import Division, divide
    from limen.lab.data.images import ImageData, Split
    from limen.lab.data.named import names
    from limen.lab.data.source import load
else:
    __getattr__, __dir__ = attributes(
        __name__,
        {
            **dict.fromkeys(("Data", "Progress", "Samples", "evenly", "fingerprint"), "base"),
            "ByClass": "by_class",
            **dict.fromkeys(("Division", "divide"), "division"),
            **dict.fromkeys(("ImageData", "Split"), "images"),
            "names": "named",
            "load": "source",
        },
    )

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
