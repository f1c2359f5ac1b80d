"""From what a user writes after ``--data`` to a data set in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from limen.errors import SpecError
from limen.lab.data.base import Progress
from limen.lab.data.builtin import load_builtin
from limen.lab.data.class_folders import load_class_folders
from limen.lab.data.images import ImageData, Split
from limen.lab.data.named import check_set_or_path, names
from limen.lab.data.pixels import adapt
from limen.lab.option import LONGEST_EDGE


def load(
    source: str,
    *,
    data_dir: Path | None = None,
    image_size: tuple[int, int] | None = None,
    grey: bool = False,
    progress: Progress | None = None,
) -> ImageData:
    """Load a data set by its built-in name, or from a folder or archive of class folders.

    Args:
        source: One of :func:`names`, or a path. A name wins over a path; ``./digits`` is always a path.
        data_dir: Where the files of built-in sets lie or are downloaded to; by default ``$LIMEN_DATA``, else
            a folder in the user's cache.
        image_size: Height and width to resize every image to.
        grey: Reduce colours to one channel.
        progress: Called as ``progress(done, total)`` while class folders are read.

    >>> data = load("digits")
    >>> data.image_shape, len(data.train), data.test
    ((1, 8, 8), 1797, None)
    """
    if image_size is not None and not all(1 <= edge <= LONGEST_EDGE for edge in image_size):
        raise SpecError(
            f"The image size is {image_size[0]}×{image_size[1]}, but both must be from 1 to {LONGEST_EDGE:,}."
        )
    check_set_or_path(source)
    if source in names():
        return _adapted(load_builtin(source, data_dir), image_size, grey)
    return load_class_folders(Path(os.path.expanduser(source)), image_size=image_size, grey=grey, progress=progress)


def _adapted(data: ImageData, image_size: tuple[int, int] | None, grey: bool) -> ImageData:
    def change(split: Split) -> Split:
        return replace(split, images=adapt(split.images, image_size=image_size, grey=grey))

    return replace(data, train=change(data.train), test=change(data.test) if data.test is not None else None)
