"""The binary version of CIFAR-10: records of one label byte and 3072 pixel bytes, red then green then blue.

https://www.cs.toronto.edu/~kriz/cifar.html. The Python version is never read: its pickles can run any code.
"""

from __future__ import annotations

import numpy as np
import torch

from limen.errors import DataError
from limen.lab.data.idx import checked_labels
from limen.lab.data.images import Split
from limen.lab.data.members import Files

TRAIN_FILES = tuple(f"data_batch_{n}.bin" for n in range(1, 6))
TEST_FILES = ("test_batch.bin",)
RECORDS_PER_FILE = 10_000
_RECORD_BYTES = 1 + 3 * 32 * 32


def find_batches(files: Files) -> dict[str, str]:
    """Return the member name of each batch file in a folder or archive, by its official name."""
    known = {*TRAIN_FILES, *TEST_FILES}
    members = {name.rpartition("/")[2]: name for name in files.files}
    return {name: member for name, member in members.items() if name in known}


def read_cifar(files: Files, classes: int) -> tuple[Split, Split]:
    """Read the training and the test images of a folder or archive that holds the six batch files."""
    members = find_batches(files)
    missing = {*TRAIN_FILES, *TEST_FILES} - members.keys()
    if missing:
        raise DataError(
            f"{files.path} lacks {', '.join(sorted(missing))} of CIFAR-10; give the official binary version, complete."
        )
    batches = {
        name.rpartition("/")[2]: read_batch(content, files.where(name), classes)
        for name, content in files.read(members.values())
    }
    return _join([batches[name] for name in TRAIN_FILES]), _join([batches[name] for name in TEST_FILES])


def read_batch(content: bytes, where: str, classes: int) -> Split:
    """Read one batch file; ``where`` names it in errors."""
    expected = RECORDS_PER_FILE * _RECORD_BYTES
    if len(content) != expected:
        raise DataError(
            f"{where} has {len(content):,} bytes, but a CIFAR-10 batch has {expected:,} "
            f"({RECORDS_PER_FILE:,} records of {_RECORD_BYTES}); copy or download it again."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
    images = torch.tensor(records[:, 1:]).reshape(-1, 3, 32, 32)
    return Split(images, checked_labels(records[:, 0], classes, where))


def _join(batches: list[Split]) -> Split:
    return Split(torch.cat([part.images for part in batches]), torch.cat([part.labels for part in batches]))
