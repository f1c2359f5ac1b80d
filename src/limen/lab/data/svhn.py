"""Street View House Numbers, cropped digits: MATLAB files of images (32, 32, 3, N) and labels, where 10 is the digit 0.

Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers/.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from limen.errors import DataError
from limen.lab.data.idx import checked_labels
from limen.lab.data.images import Split
from limen.lab.data.members import LARGEST_MEMBER, reading


def read_svhn(path: Path, classes: int) -> Split:
    """Read ``train_32x32.mat`` or ``test_32x32.mat``."""
    from scipy.io import loadmat, whosmat  # slow to import, and only this set needs it
    from scipy.io.matlab import MatReadError

    try:
        with reading(path, "MATLAB file"):
            _check_promised(path, whosmat(path))
            found = loadmat(path, variable_names=("X", "y"))
    except (MatReadError, ValueError, TypeError, NotImplementedError) as error:
        raise DataError(f"{path} is no MATLAB file that can be read ({error}); copy or download it again.") from None
    images, labels = found.get("X"), found.get("y")
    if images is None or labels is None:
        raise DataError(f"{path} lacks X or y, the images and labels of SVHN; give the official file.")
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.ndim != 4:
        raise DataError(
            f"{path} has images {images.dtype} of shape {images.shape}, and SVHN's are uint8 (32, 32, 3, N)."
        )
    if labels.size != images.shape[3]:
        raise DataError(f"{path} has {images.shape[3]} images and {labels.size} labels; copy or download it again.")
    digits = np.where(labels.reshape(-1) == 10, 0, labels.reshape(-1)).astype(np.uint8)
    pixels = torch.tensor(np.ascontiguousarray(images.transpose(3, 2, 0, 1)))
    return Split(pixels, checked_labels(digits, classes, str(path)))


def _check_promised(path: Path, held: list[tuple[str, tuple[int, ...], str]]) -> None:
    """Raise before what is packed into few bytes is unpacked."""
    promised = sum(math.prod(shape) for name, shape, _ in held if name in ("X", "y"))
    if promised > LARGEST_MEMBER:
        raise DataError(f"{path} promises {promised:,} values, more than the {LARGEST_MEMBER:,} allowed.")
