"""The data sets known by name: where their files may lie, where they are published, how they are read.

MNIST: LeCun, Cortes, Burges. Fashion-MNIST: Xiao et al. 2017, https://arxiv.org/abs/1708.07747.
CIFAR-10: Krizhevsky 2009. SVHN: Netzer et al. 2011. digits: UCI optical digits, part of scikit-learn.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from limen.errors import DataError
from limen.lab.data import cifar, svhn
from limen.lab.data.files import open_files
from limen.lab.data.idx import read_idx_split, read_payload
from limen.lab.data.images import ImageData, Split
from limen.lab.data.members import path_kind
from limen.lab.data.remote import RemoteFile

_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True)
class Published:
    """A data set made of published files."""

    name: str
    classes: tuple[str, ...]
    base_url: str
    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...]
    """Sub-folders of the data folder in which the files may already lie; the first is where downloads go."""
    labels_sha256: str = ""
    """Of the unpacked training labels. Sets that share file names are told apart by it."""


MNIST = Published(
    "mnist",
    _DIGITS,
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        RemoteFile(IDX_FILES[0], "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        RemoteFile(IDX_FILES[1], "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        RemoteFile(IDX_FILES[2], "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        RemoteFile(IDX_FILES[3], "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    ("mnist", "MNIST", "MNIST/raw", "mnist/raw"),
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
FASHION_MNIST = Published(
    "fashion-mnist",
    _CLOTHES,
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    (
        RemoteFile(IDX_FILES[0], "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        RemoteFile(IDX_FILES[1], "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        RemoteFile(IDX_FILES[2], "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        RemoteFile(IDX_FILES[3], "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    ("fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
)
CIFAR10 = Published(
    "cifar10",
    _OBJECTS,
    "https://www.cs.toronto.edu/~kriz/",
    (RemoteFile("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),),
    ("cifar10", "cifar-10", "CIFAR10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"),
)


SVHN = Published(
    "svhn",
    _DIGITS,
    "http://ufldl.stanford.edu/housenumbers/",
    (
        RemoteFile("train_32x32.mat", "md5:e26dedcc434d2e4c54c9b2d4a06d8373"),
        RemoteFile("test_32x32.mat", "md5:eb5a983be6a315427106f1b164d9cef3"),
    ),
    ("svhn", "SVHN"),
)


def load_digits() -> ImageData:
    """Read the 1,797 digits of 8×8 pixels that come with scikit-learn; its 0 to 16 become 0 to 255."""
    rows = _digits_of_scikit_learn()
    images = torch.tensor(np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8)).view(-1, 1, 8, 8)
    return ImageData("digits", _DIGITS, Split(images, torch.tensor(rows[:, -1]).long()), None, None)


def _digits_of_scikit_learn() -> NDArray[np.float64]:
    """64 pixels and the digit of each image; scikit-learn itself would take three seconds to import."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("the digits come with scikit-learn, which is not installed: pip install scikit-learn.")
    return np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")


def load_idx_set(published: Published, root: Path) -> ImageData:
    """Read MNIST or Fashion-MNIST from below ``root``, or download it there."""
    paths = _find_idx(published, root)
    if paths is None:
        folder = root / published.folders[0]
        paths = [_fetched(file, published.base_url, folder) for file in published.files]
    train = read_idx_split(paths[0], paths[1], len(published.classes))
    test = read_idx_split(paths[2], paths[3], len(published.classes))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{paths[0]} has images of {tuple(train.images.shape[2:])} pixels but {paths[2]} of "
            f"{tuple(test.images.shape[2:])}; give files that belong together."
        )
    return ImageData(published.name, published.classes, train, None, test)


def load_cifar10(published: Published, root: Path) -> ImageData:
    """Read the binary version of CIFAR-10 from below ``root``, or download it there."""
    path = _find_cifar(published, root)
    if path is None:
        path = _fetched(published.files[0], published.base_url, root / published.folders[0])
    train, test = cifar.read_cifar(open_files(path), len(published.classes))
    return ImageData(published.name, published.classes, train, None, test)


def load_svhn(published: Published, root: Path) -> ImageData:
    """Read the cropped digits of SVHN from below ``root``, or download them there."""
    places = (place for place in _places(published, root) if all(_is_there(place / f.name) for f in published.files))
    folder = next(places, root / published.folders[0])
    paths = [
        folder / file.name if _is_there(folder / file.name) else _fetched(file, published.base_url, folder)
        for file in published.files
    ]
    train, test = (svhn.read_svhn(path, len(published.classes)) for path in paths)
    return ImageData(published.name, published.classes, train, None, test)


def _is_there(path: Path) -> bool:
    return path_kind(path) == "file"


BUILTIN: dict[str, Callable[[Path], ImageData]] = {
    "digits": lambda _: load_digits(),
    "mnist": lambda root: load_idx_set(MNIST, root),
    "fashion-mnist": lambda root: load_idx_set(FASHION_MNIST, root),
    "cifar10": lambda root: load_cifar10(CIFAR10, root),
    "svhn": lambda root: load_svhn(SVHN, root),
}


def load_builtin(name: str, data_dir: Path | None) -> ImageData:
    """Read a built-in data set from the data folder, where it is downloaded to if need be."""
    root = data_root(data_dir)
    if path_kind(root) not in ("folder", "missing"):
        raise DataError(f"The data folder {root} is not a folder; give --data-dir a folder.")
    return BUILTIN[name](root)


def data_root(data_dir: Path | None) -> Path:
    """Return the folder for built-in data: the one given, else ``$LIMEN_DATA``, else the user's cache."""
    if data_dir is not None:
        return Path(os.path.expanduser(data_dir))
    if os.environ.get("LIMEN_DATA"):
        return Path(os.path.expanduser(os.environ["LIMEN_DATA"]))
    import pooch  # a tenth of a second with requests, which most commands do not need

    return Path(pooch.os_cache("limen"))


def _fetched(file: RemoteFile, base_url: str, folder: Path) -> Path:
    from limen.lab.data.download import fetch  # the same

    return fetch(file, base_url, folder)


def _places(published: Published, root: Path) -> list[Path]:
    return [root / name for name in published.folders] + [root]


def _find_idx(published: Published, root: Path) -> list[Path] | None:
    """Return the four idx files, packed or not, from the first place that has them all."""
    for place in _places(published, root):
        found = [_either(place / file.name) for file in published.files]
        paths = [path for path in found if path]
        if len(paths) == len(found) and not (place == root and _is_other_set(published, paths)):
            return paths
    return None


def _either(packed: Path) -> Path | None:
    return next((path for path in (packed, packed.with_suffix("")) if path_kind(path) == "file"), None)


def _is_other_set(published: Published, paths: list[Path]) -> bool:
    """Tell MNIST's files from Fashion-MNIST's, which have the same names, where no folder's name tells."""
    others = {MNIST.labels_sha256, FASHION_MNIST.labels_sha256} - {published.labels_sha256}
    return hashlib.sha256(read_payload(paths[1])).hexdigest() in others


def _find_cifar(published: Published, root: Path) -> Path | None:
    """Return the first folder with a batch file of the binary version, or the packed version."""
    for place in _places(published, root):
        if any(path_kind(place / name) == "file" for name in (*cifar.TRAIN_FILES, *cifar.TEST_FILES)):
            return place
        if path_kind(place / published.files[0].name) == "file":
            return place / published.files[0].name
    return None
