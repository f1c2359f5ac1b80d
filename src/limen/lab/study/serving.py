"""A study's report as a page on this machine, made anew while its runs end. Nothing of the folder is written."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from limen.errors import LimenError, SpecError
from limen.lab.report.page import render
from limen.lab.study.result import contents, require
from limen.lab.study.store import StudyFolder

HOST = "127.0.0.1"
WATCHED = ("study.json", "cost.json", "runs", "trials")
"""What of a study changes when there is more to show; a folder does whenever a record is put into it."""
SHARED = re.compile(r"(?:runs|trials)/[\w-]+\.json|(?:study|cost|plan)\.json|(?:runs|summary|trials)\.csv")
"""What of a folder the page links to, or whoever looks at it may ask for."""
KINDS = {".json": "application/json", ".csv": "text/csv; charset=utf-8"}


def serve(out: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve the report of a study to this machine alone until Ctrl-C.

    Args:
        out: the folder of the study.
        port: of 127.0.0.1; 0 for any that is free.
        say: is told the address.

    Raises:
        StudyError: if there is no study in the folder.
        SpecError: if the port cannot be had.
    """
    folder = StudyFolder(out)
    require(folder)
    try:
        server = _Server((HOST, port), _Handler)
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        raise SpecError(f"port {port} of {HOST} {reason}; give another --port, or 0 for any that is free.") from None
    with server:
        server.pages = Pages(folder)
        say(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()


class Pages:
    """The page of a study, made when it is asked for and something has changed since."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder
        self._making = Lock()  # Matplotlib's settings are one for all threads
        self._made = ("", b"")

    def state(self) -> str:
        """What is another whenever there is more to show."""
        times = []
        for name in WATCHED:
            with suppress(FileNotFoundError):
                times.append(str((self.folder.path / name).stat().st_mtime_ns))
        return "-".join(times)

    def page(self) -> bytes:
        """The page as the study is now."""
        with self._making:
            state = self.state()
            if self._made[0] != state:
                task, study = require(self.folder)
                self._made = (state, render(contents(task, self.folder, study), state).encode())
            return self._made[1]

    def file(self, name: str) -> Path | None:
        """A file of the study that may be asked for; none beside or outside of its folder, through links neither."""
        if SHARED.fullmatch(name) is None:
            return None
        path = (self.folder.path / name).resolve()
        return path if path.is_relative_to(self.folder.path.resolve()) and path.is_file() else None


class _Server(ThreadingHTTPServer):
    """Answers each in a thread of its own, none of which anything waits for."""

    daemon_threads = True
    pages: Pages

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has left is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads, and nothing else."""

    server: _Server

    def do_GET(self) -> None:
        """Answer with the page, its state, or a file of the study."""
        status, kind, body = self._answer()
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """The same without its body."""
        self.do_GET()

    def _answer(self) -> tuple[HTTPStatus, str, bytes]:
        if self.headers.get("Host", "") not in {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}:
            # A page of another site whose name was made to lead here.
            return _said(HTTPStatus.FORBIDDEN, "This page is for this machine alone.")
        pages, name = self.server.pages, unquote(urlsplit(self.path).path).removeprefix("/")
        try:
            if name in ("", "report.html"):
                return HTTPStatus.OK, "text/html; charset=utf-8", pages.page()
            if name == "state":
                return _said(HTTPStatus.OK, pages.state())
            if name == "favicon.ico":  # browsers ask for it, and tell of what is missing
                return _said(HTTPStatus.NO_CONTENT, "")
            file = pages.file(name)
            if file is not None:
                return HTTPStatus.OK, KINDS[file.suffix], file.read_bytes()
        except (LimenError, OSError) as error:
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return _said(HTTPStatus.NOT_FOUND, "There is no such file in this study.")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal is the command's."""


def _said(status: HTTPStatus, text: str) -> tuple[HTTPStatus, str, bytes]:
    return status, "text/plain; charset=utf-8", text.encode()
