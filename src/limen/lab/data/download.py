"""Fetch a published file once, checked, into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pooch
import requests  # what pooch downloads with

from limen.errors import DataError
from limen.lab.data.members import path_kind
from limen.lab.data.remote import RemoteFile

LARGEST_DOWNLOAD = 2**28
"""Bytes. The largest published file has 182 million."""


def fetch(file: RemoteFile, base_url: str, folder: Path) -> Path:
    """Return the file in ``folder``, downloaded from ``base_url`` unless it is there and its hash is right."""
    url = base_url.rstrip("/") + "/" + file.name
    if path_kind(folder / file.name) not in ("file", "missing"):
        raise DataError(f"{folder / file.name} is no file but a folder, a device or the like; remove it.")
    try:
        path = pooch.retrieve(url, file.hash, fname=file.name, path=folder, downloader=_download)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
        raise DataError(
            f"{file.name} was not found in {folder} and could not be downloaded from {url} "
            f"({_reason(error)}); download it by hand and place it in {folder}."
        ) from error
    return Path(path)


def _download(url: str, path: str, _: Any) -> None:
    """What a server sends, as far as a published file can go."""
    with requests.get(url, timeout=30, stream=True) as answer, open(path, "wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_content(2**16):
            file.write(piece)
            if file.tell() > LARGEST_DOWNLOAD:
                raise ValueError(f"the server sends more than {LARGEST_DOWNLOAD:,} bytes")


def _reason(error: Exception) -> str:
    """Say the cause in a few words; the errors of requests wrap it several times."""
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server"
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and "does not match" in text:
        return "its checksum is not the published one"
    return text if len(text) <= 160 else text[:160] + "…"
