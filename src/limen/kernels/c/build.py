"""C source in, loaded library out: compiled once, kept on disk, loaded once in a process.

A function is called as ``load(source, "twice").twice(21)``; in the source it must be declared
``__attribute__((visibility("default")))``, since everything else stays hidden.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import threading
from pathlib import Path
from typing import TypeVar

import torch

from limen.kernels.c import cache
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
    shares_torch_threads,
)

__all__ = [
    "Compiler",
    "NoCompilerError",
    "cache_folder",
    "cache_size",
    "cache_trouble",
    "clear_cache",
    "find_compiler",
    "forget",
    "load",
]

T = TypeVar("T", Compiler, ctypes.CDLL)

# Change it when a library built by an earlier limen must not be loaded by this one.
ABI = "limen-kernel-1"

# What this process has tried so far; a failure is kept as its sentence, so that a compiler that hangs hangs once.
_compilers: list[Compiler | str] = []
_libraries: dict[tuple[str, str], ctypes.CDLL | str] = {}
_lock = threading.RLock()


def find_compiler() -> Compiler:
    """The C compiler of this machine; raises `NoCompilerError` if there is none that works."""
    with _lock:
        if not _compilers:
            try:
                _compilers.append(_find())
            except NoCompilerError as error:
                _compilers.append(str(error))
        return _or_raise(_compilers[0])


def load(source: str, name: str) -> ctypes.CDLL:
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
    return _or_raise(outcome)


def forget() -> None:
    """Forget the compiler, the libraries and the folders of this process, as tests need."""
    with _lock:
        _compilers.clear()
        _libraries.clear()
        cache.forget_troubles()
        cpu_identity.cache_clear()


def entry_name(source: str, name: str, compiler: Compiler) -> str:
    """The file name of a library, in which everything that its content depends on is hashed."""
    return _named(name, "so", source, compiler.path, compiler.version, *compiler.flags)


def _load(source: str, name: str) -> ctypes.CDLL:
    compiler = find_compiler()
    entry = entry_name(source, name, compiler)
    folder = cache.trusted_folder()
    if folder is not None and cache.read_entry(folder / entry) is not None:
        try:
            return open_library(folder / entry, compiler)
        except NoCompilerError:
            pass  # Cleared by another process this moment, or made for another system: build it again.

    def build(target: Path) -> ctypes.CDLL:
        if compiler.openmp:
            try:
                return _built(compiler, source, target)
            except CompilerHungError:
                raise
            except NoCompilerError:
                # A newer compiler may call what torch's OpenMP runtime does not have yet.
                return _built(compiler.without_openmp(), source, target)
        return _built(compiler, source, target)

    return cache.make_entry(entry, build)


def _built(compiler: Compiler, source: str, target: Path) -> ctypes.CDLL:
    compile_library(compiler, source, target)
    cache.seal(target)
    return open_library(target, compiler)


def _find() -> Compiler:
    """Probe the compiler, or read what an earlier process found out about the same program on the same machine."""
    words = compiler_words()
    try:
        status = os.stat(words[0])
    except OSError as error:
        raise NoCompilerError(f"{words[0]} cannot be run: {error.strerror or error}.") from None
    program = (*words, str(status.st_ino), str(status.st_size), str(status.st_mtime_ns))
    threads = shares_torch_threads()
    entry = _named("compiler", "probe", *program, str(threads), repr((FLAGS, NATIVE)))
    folder = cache.trusted_folder()
    known = None if folder is None else cache.read_entry(folder / entry)
    if known is not None:
        record = json.loads(known)
        return Compiler(words[0], record["version"], tuple(record["flags"]), record["openmp"])

    def task(target: Path) -> Compiler:
        found = probe(words, threads, target.parent)
        target.write_text(json.dumps({"version": found.version, "flags": found.flags, "openmp": found.openmp}))
        cache.seal(target)
        return found

    return cache.make_entry(entry, task)


def _named(name: str, suffix: str, *parts: str) -> str:
    # torch's version is in it because its OpenMP runtime decides what can be resolved.
    digest = hashlib.sha256("\0".join([ABI, torch.__version__, cpu_identity(), *parts]).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}-{digest[:32]}.{suffix}"


def _or_raise(outcome: T | str) -> T:
    if isinstance(outcome, str):
        raise NoCompilerError(outcome)
    return outcome


def _unlock_in_child() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # The thread that held the lock does not exist in a forked child.
    os.register_at_fork(after_in_child=_unlock_in_child)
