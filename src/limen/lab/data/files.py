"""One read-only view of a folder, a .zip and a .tar.gz: member names, and their bytes."""

from __future__ import annotations

from pathlib import Path

from limen.errors import DataError
from limen.lab.data.folder import FolderFiles
from limen.lab.data.members import Files, check_path, path_kind
from limen.lab.data.tar_archive import TarFiles
from limen.lab.data.zip_archive import ZipFiles

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


def archive_suffix(name: str) -> str:
    """Return the archive suffix of a file name, or an empty string.

    >>> archive_suffix("Training.ZIP"), archive_suffix("a.tar.gz"), archive_suffix("a.png")
    ('.zip', '.tar.gz', '')
    """
    return next((suffix for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), "")


def open_files(path: Path) -> Files:
    """Open a folder or an archive; anything else is a :class:`DataError` that says what ``path`` is."""
    check_path(path)
    kind = path_kind(path)
    if kind == "folder":
        return FolderFiles(path)
    if kind == "file" and archive_suffix(path.name):
        return ZipFiles(path) if archive_suffix(path.name) == ".zip" else TarFiles(path)
    raise DataError(
        f"{path} is neither a folder nor an archive; give a folder of class folders, or such a folder "
        f"packed as {', '.join(ARCHIVE_SUFFIXES)}."
    )
