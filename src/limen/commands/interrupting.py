"""Ctrl-C from the first line of a command to the end of the process: one sentence, and exit code 130.

Python raises Ctrl-C wherever the program happens to be. Inside a finaliser, as when tensors are let go, it prints a
traceback there and goes on; and once the command has returned, while Python ends, nothing is left to catch it. Taking
down what torch and the lab hold takes Python two seconds, ten and more on a busy machine; the system does it at once.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

EXIT_INTERRUPTED = 130
SENTENCE = "interrupted; finished runs are kept, and the same command continues."

PRESSES = 5.0
"""Seconds in which pressing it again changes nothing: what the first has begun to end must all be ended."""

_pressed = threading.Event()
"""Whether Ctrl-C was pressed in the command that runs."""
_since = -PRESSES
"""When it was."""


@contextmanager
def noticed() -> Iterator[None]:
    """Around a command: a Ctrl-C that Python drops is remembered for :func:`stop_if_pressed`, without a traceback.

    Where something else listens to Ctrl-C, or it is ignored as in the background of a shell, that stays so.
    """
    _pressed.clear()
    of_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not of_python or threading.current_thread() is not threading.main_thread():
        yield
        return
    hook = sys.unraisablehook
    signal.signal(signal.SIGINT, _note)
    sys.unraisablehook = lambda found: None if found.exc_type is KeyboardInterrupt else hook(found)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook
        # The last that is registered runs first, before the libraries' own endings.
        atexit.unregister(_end_at_once)
        atexit.register(_end_at_once)


def stop_if_pressed() -> None:
    """Stop for a Ctrl-C that was dropped where it came."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def heed_no_more() -> None:
    """A second Ctrl-C must not break the sentence about the first."""
    if signal.getsignal(signal.SIGINT) is _note:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _note(signal_number: int, frame: FrameType | None) -> None:
    global _since
    if _pressed.is_set() and time.monotonic() - _since < PRESSES:
        return
    _since = time.monotonic()
    _pressed.set()
    raise KeyboardInterrupt


def _end_at_once() -> None:
    """Python is ending: nothing is left that could be interrupted halfway."""

    def end(*_: Any) -> None:
        _flush(sys.stdout)
        os.write(2, f"limen: {SENTENCE}\n".encode())
        os._exit(EXIT_INTERRUPTED)

    if _pressed.is_set():  # and said
        _flush(sys.stdout)
        _flush(sys.stderr)
        os._exit(EXIT_INTERRUPTED)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


def _flush(stream: TextIO) -> None:
    with suppress(OSError, RuntimeError, ValueError):  # whoever read our output may be gone, or it is being flushed
        stream.flush()
