"""C source in, loaded library out: compiled once, kept on disk, loaded once in a process.

Where no compiler can be run, what one has built is loaded all the same: as in a container whose image was built where
there was one. It must have been on the same processor. Before all that stands what came with the package.

A function is called as ``load(source, "twice").twice(21)``; in the source it must be declared
``__attribute__((visibility("default")))``, since everything else stays hidden.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limen.kernels.c import cache, shipped
from limen.kernels.c.cache import cache_folder, cache_size, cache_trouble, clear_cache
from limen.kernels.c.compiler import (
    FLAGS,
    NATIVE,
    Compiler,
    CompilerHungError,
    NoCompilerError,
    compile_library,
    compiler_words,
    cpu_identity,
    open_library,
    probe,
)
from limen.kernels.c.shipped import ShippedKernel

__all__ = [
    "Compiler",
    "Loaded",
    "NoCompilerError",
    "cache_folder",
    "cache_size",
    "cache_trouble",
    "clear_cache",
    "find_compiler",
    "forget",
    "journal",
    "load",
]

Library = ctypes.CDLL | ShippedKernel
"""What has the functions of a source."""

# Change it when a library built by an earlier limen must not be loaded by this one.
ABI = "limen-kernel-2"


@dataclass(frozen=True)
class Loaded:
    """A library that this process has loaded."""

    name: str
    """As it was asked for: what it computes, and for what."""
    seconds: float
    compiled: bool
    """Whether it had to be compiled."""
    shipped: bool = False
    """Whether it came with the package."""


# What this process has tried so far; a failure is kept as its sentence, so that a compiler that hangs hangs once. There
# are several compilers where none can be run and several have built what is there.
_compilers: list[Compiler | str] = []
_libraries: dict[tuple[str, str], Library | str] = {}
_journal: list[Loaded] = []
_lock = threading.RLock()


def find_compiler() -> Compiler:
    """The C compiler of this machine, or one that is gone; raises `NoCompilerError` if there is none that works."""
    with _lock:
        if not _compilers:
            try:
                _compilers.extend(_find_or_remember())
            except NoCompilerError as error:
                _compilers.append(str(error))
        found = _compilers[0]
    if isinstance(found, str):
        raise NoCompilerError(found)
    return found


def journal() -> tuple[Loaded, ...]:
    """What this process has loaded so far, in order."""
    return tuple(_journal)


def load(source: str, name: str) -> Library:
    """The library of this C source; raises `NoCompilerError` if it cannot be built. ``name`` begins its file name."""
    outcome = _libraries.get((source, name))
    if outcome is None:
        with _lock:
            outcome = _libraries.get((source, name))
            if outcome is None:
                try:
                    outcome = _load(source, name)
                except NoCompilerError as error:
                    outcome = str(error)
                _libraries[source, name] = outcome
    if isinstance(outcome, str):
        raise NoCompilerError(outcome)
    return outcome


def forget() -> None:
    """Forget the compiler, the libraries and the folders of this process, as tests need."""
    with _lock:
        _compilers.clear()
        _libraries.clear()
        _journal.clear()
        shipped.library.cache_clear()
        cache.forget_troubles()
        cpu_identity.cache_clear()


def entry_name(source: str, name: str, compiler: Compiler) -> str:
    """The file name of a library, in which everything that its content depends on is hashed."""
    return _named(name, "so", source, compiler.path, compiler.version, *compiler.flags)


def _load(source: str, name: str) -> Library:
    began = time.monotonic()
    kernel = shipped.find(source)
    if kernel is not None:
        _journal.append(Loaded(name, time.monotonic() - began, compiled=False, shipped=True))
        return kernel
    compiler = find_compiler()
    library = _found(source, name)
    compiled = library is None
    if library is None:
        if compiler.gone:
            raise NoCompilerError(
                f"{compiler.gone} It is not among the kernels kept in {cache_folder()}; limen warm makes them where a "
                "compiler is."
            )
        library = _made(source, entry_name(source, name, compiler), compiler)
    _journal.append(Loaded(name, time.monotonic() - began, compiled))
    return library


def _found(source: str, name: str) -> ctypes.CDLL | None:
    """The library as it was kept; None if it was not."""
    folder = cache.readable_folder()
    for compiler in _compilers:
        if folder is None or isinstance(compiler, str):
            continue
        path = folder / entry_name(source, name, compiler)
        if cache.read_entry(path) is not None:
            # It may have been cleared by another process this moment, or made for another system.
            with contextlib.suppress(NoCompilerError):
                return open_library(path, compiler)
    return None


def _made(source: str, entry: str, compiler: Compiler) -> ctypes.CDLL:

    def build(target: Path) -> ctypes.CDLL:
        compile_library(compiler, source, target)
        cache.seal(target)
        return open_library(target, compiler)

    return cache.make_entry(entry, build)


def _find_or_remember() -> list[Compiler]:
    """The compiler; where none works, those that have worked here."""
    try:
        return [_find()]
    except CompilerHungError:
        raise
    except NoCompilerError as error:
        known = _remembered()
        here = [record for record in known if record["here"] == _here()]
        if here:
            return [Compiler(record["path"], record["version"], tuple(record["flags"]), str(error)) for record in here]
        raise NoCompilerError(f"{error}{_why_not(known)}") from None


def _remembered() -> list[dict[str, Any]]:
    """What is known of compilers that have worked, the last one first."""
    folder = cache.readable_folder()
    if folder is None:
        return []
    contents = {path: cache.read_entry(path) for path in folder.glob("compiler-*.probe")}
    records = {path: json.loads(content) for path, content in contents.items() if content is not None}
    ours = [path for path, record in records.items() if "here" in record]
    return [records[path] for path in sorted(ours, key=lambda path: path.stat().st_mtime_ns, reverse=True)]


def _why_not(known: list[dict[str, Any]]) -> str:
    """Why nothing that others have built can be used, as a sentence to follow another; empty if there is nothing."""
    if not known:
        return ""
    return f" The kernels kept in {cache_folder()} were compiled for another processor, so they are not used."


def _here() -> str:
    """What a library depends on beside its source and its compiler."""
    parts = [ABI, cpu_identity(), repr((FLAGS, NATIVE))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _find() -> Compiler:
    """Probe the compiler, or read what an earlier process found out about the same program on the same machine."""
    words = compiler_words()
    try:
        status = os.stat(words[0])
    except OSError as error:
        raise NoCompilerError(f"{words[0]} cannot be run: {error.strerror or error}.") from None
    program = (*words, str(status.st_ino), str(status.st_size), str(status.st_mtime_ns))
    here = _here()
    entry = _named("compiler", "probe", *program, here)
    folder = cache.readable_folder()
    known = None if folder is None else cache.read_entry(folder / entry)
    if known is not None:
        record = json.loads(known)
        return Compiler(words[0], record["version"], tuple(record["flags"]))

    def task(target: Path) -> Compiler:
        found = probe(words, target.parent)
        record = {"path": found.path, "version": found.version, "flags": found.flags}
        target.write_text(json.dumps({**record, "here": here}))
        cache.seal(target)
        return found

    return cache.make_entry(entry, task)


def _named(name: str, suffix: str, *parts: str) -> str:
    digest = hashlib.sha256("\0".join([ABI, cpu_identity(), *parts]).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}-{digest[:32]}.{suffix}"


def _unlock_in_child() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # The thread that held the lock does not exist in a forked child.
    os.register_at_fork(after_in_child=_unlock_in_child)
