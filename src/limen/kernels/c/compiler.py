"""The system's C compiler: which one it is, what it can do, and one source file turned into one shared library.

Never passed are ``-fopenmp``, which would link a runtime with a pool of threads of its own (see ``threads``), and
options of the fast-math family: linking with one makes the whole process flush small numbers to zero.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from limen.kernels.c import threads
from limen.kernels.errors import NoKernelError

TIMEOUT = 120.0
MOST_PRINTED, MOST_READ = 2**20, 2**16
"""Bytes after which a compiler that prints without end is stopped, and of which its message is taken."""
LONGEST_MESSAGE = 200
"""Characters of what it says that an error repeats."""
FLAGS = (
    *("-O3", "-std=gnu11", "-fPIC", "-fvisibility=hidden"),
    # Fused multiply-adds across statements are GCC's default and not Clang's.
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
# GCC prefers half-width vectors on processors with AVX-512; full ones took ASAU from 3.0 to 2.3 times F.silu.
NATIVE = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ("-mcpu=native",), ())
SIMD = (("-fopenmp-simd",), ())
UNWANTED = {"-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-ffinite-math-only", "-fopenmp"}

# The lines of /proc/cpuinfo on x86, Arm, POWER and RISC-V that do not change from one moment to the next.
CPU_FIELDS = {
    *("vendor_id", "cpu family", "model", "model name", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),
    *("cpu", "revision", "isa", "uarch"),
}

PROBE = """
__attribute__((visibility("default"))) int limen_probe(int n) {
    int sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += i;
    return sum;
}
"""


class NoCompilerError(NoKernelError):
    """Why C source cannot be turned into a library here, in one sentence."""


class CompilerHungError(NoCompilerError):
    """The compiler did not finish in time, so trying it again somewhere else would only wait again."""


@dataclass(frozen=True)
class Compiler:
    """A compiler that has built and loaded a small library here, and the options that it did so with."""

    path: str
    version: str
    flags: tuple[str, ...]
    gone: str = ""
    """Why it cannot be run any more, in a sentence; what it has built is there. Empty while it can."""


def compile_library(compiler: Compiler, source: str, target: Path) -> None:
    """Write the shared library ``target`` from C source; what else the compiler writes stays in the same folder."""
    work = target.parent
    (work / "kernel.c").write_text(source, encoding="utf-8")
    _checked([compiler.path, *compiler.flags, "-c", "kernel.c", "-o", "kernel.o"], work)
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    _checked([compiler.path, *compiler.flags, "-shared", *undefined, "kernel.o", "-o", target.name, "-lm"], work)
    if not target.is_file():
        raise NoCompilerError(f"{compiler.path} reported success and wrote no library.")


def compiler_words() -> tuple[str, ...]:
    """The command that starts the compiler, its path made absolute: $LIMEN_CC, else $CC, cc, gcc, clang or ziglang."""
    if os.name != "posix":
        raise NoCompilerError("Kernels are compiled on Linux and macOS only.")
    asked = os.environ.get("LIMEN_CC", "").strip()
    if asked:
        words = _located(asked)
        if words is None:
            raise NoCompilerError(f"LIMEN_CC is {asked!r}, and no such program can be run.")
        return words
    for command in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = _located(command)
        if words is not None:
            return words
    zig = find_spec("ziglang")
    words = (
        _located(f"{shlex.quote(os.path.join(os.path.dirname(zig.origin), 'zig'))} cc") if zig and zig.origin else None
    )
    if words is None:
        raise NoCompilerError(
            "No C compiler was found: install gcc or clang, or pip install 'limen[compiler]', or name one in LIMEN_CC."
        )
    return words


def probe(words: tuple[str, ...], work: Path) -> Compiler:
    """Find the best options with which a small library can be built in ``work`` and loaded: mostly the first tried."""
    path, *own = words
    own = [word for word in own if word not in UNWANTED]
    version = _version(path, own, work)
    failure = NoCompilerError(f"{path} cannot be used.")
    for number, (native, simd) in enumerate(itertools.product(NATIVE, SIMD)):
        compiler = Compiler(path, version, (*own, *FLAGS, *native, *simd))
        target = work / f"probe{number}.so"
        try:
            compile_library(compiler, PROBE, target)
            open_library(target, compiler).limen_probe  # noqa: B018 (looks the symbol up)
        except CompilerHungError:
            raise
        except NoCompilerError as error:
            failure = error
        except AttributeError:
            failure = NoCompilerError(f"{path} wrote a library without its function.")
        else:
            return compiler
    raise failure


def open_library(path: Path, compiler: Compiler) -> ctypes.CDLL:
    """Load a library into this process with every symbol resolved at once, so that a missing one shows here."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise NoCompilerError(f"{compiler.path} wrote a library that cannot be loaded: {_plain(str(error))}.") from None
    threads.lend_to(library)
    return library


@functools.cache
def cpu_identity() -> str:
    """What ``-march=native`` depends on: the model and features of the first core."""
    lines = []
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            # Up to the first empty line: on large machines the whole file takes milliseconds a core.
            for line in itertools.takewhile(str.strip, file):
                name, _, value = line.partition(":")
                if name.strip() in CPU_FIELDS:
                    lines.append(f"{name.strip()}: {value.strip()}")
    except OSError:
        pass
    return "\n".join([platform.machine(), platform.processor(), *lines])


def _located(command: str) -> tuple[str, ...] | None:
    """Split a command and look its program up; not resolved further, since ccache acts by the name it is called by."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    program = shutil.which(words[0]) if words else None
    return None if program is None else (os.path.abspath(program), *words[1:])


def _version(path: str, own: list[str], work: Path) -> str:
    _, output, _ = _run([path, *own, "--version"], work)
    return _plain(output.strip().partition("\n")[0])


def _checked(command: list[str], work: Path) -> None:
    """Run one step of the compiler, and turn a failure into a sentence with the line that tells most."""
    code, _, messages = _run(command, work)
    if code == 0:
        return
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    line = next((line for line in lines if "error" in line), lines[0] if lines else "it said nothing")
    ended = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    raise NoCompilerError(f"{command[0]} {ended}: {_plain(line)}")


def _plain(text: str) -> str:
    """On one line, without what a terminal would obey, and not too long."""
    return "".join(filter(str.isprintable, " ".join(text.split())))[:LONGEST_MESSAGE]


def _run(command: list[str], work: Path) -> tuple[int, str, str]:
    """Run a command in ``work``: its exit code, its output and its messages.

    Both go to files, not pipes, and the command leads its own process group: what a wrapper script started is
    killed with it, and cannot hold this process up by keeping a pipe open.
    """
    environment = {**os.environ, "TMPDIR": str(work), "LC_ALL": "C"}
    try:
        with open(work / "stdout", "w+b") as output, open(work / "stderr", "w+b") as messages:
            process = subprocess.Popen(
                command,
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=messages,
                start_new_session=True,
            )
            try:
                code = _ended(process, command[0], output, messages)
            except BaseException:
                _kill(process)
                raise
            return code, _beginning(output), _beginning(messages)
    except OSError as error:
        raise NoCompilerError(f"{command[0]} could not be run in {work}: {error.strerror or error}.") from None


def _ended(process: subprocess.Popen[bytes], name: str, output: BinaryIO, messages: BinaryIO) -> int:
    """The exit code, once there is one; raises if it takes too long or prints too much."""
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            # No later than by one long wait, which asks as often.
            return process.wait(0.05)
        except subprocess.TimeoutExpired:
            pass
        if max(os.fstat(file.fileno()).st_size for file in (output, messages)) > MOST_PRINTED:
            said = _plain(_beginning(messages).partition("\n")[0])
            raise NoCompilerError(f"{name} printed more than {MOST_PRINTED:,} bytes and was stopped: {said}")
        if time.monotonic() > until:
            raise CompilerHungError(f"{name} did not finish within {TIMEOUT:g} seconds.")


def _beginning(file: BinaryIO) -> str:
    # The compiler writes where this file stands, so it must not be moved.
    return os.pread(file.fileno(), MOST_READ, 0).decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    process.wait()
