"""``vector_math.h``, compiled as kernels are and compared with float64.

``python tests/kernels/test_vector_math.py 17`` prints the table of ``docs/accuracy.md`` from every 17th float there is.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

HEADER = Path(__file__).parents[2] / "src" / "limen" / "kernels" / "c" / "vector_math.h"
FLAGS = ["-std=gnu11", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror"]
STRIDE = 1021  # of the floats in order of their bits, the tests take every so many: four million in all

UNARY = ["exp_np", "expm1_np", "exp", "log1p_01", "log", "log1p", "erf", "tanh", "sin", "cos", "sign", "sqrt"]
# One loop a line: the compilers' reports on vectorisation name the line.
LOOPS = {
    **{name: f"float *x, float *y|y[i] = vm_{name}(x[i])" for name in UNARY},
    "min": "float *x, float *z, float *y|y[i] = vm_min(x[i], z[i])",
    "max": "float *x, float *z, float *y|y[i] = vm_max(x[i], z[i])",
    "load_bf16": "uint16_t *x, float *y|y[i] = vm_load_bf16(x[i])",
    "store_bf16": "float *x, uint16_t *y|y[i] = vm_store_bf16(x[i])",
    "load_f16": "uint16_t *x, float *y|y[i] = vm_load_f16_soft(x[i])",
    "store_f16": "float *x, uint16_t *y|y[i] = vm_store_f16_soft(x[i])",
    "uniform": "uint32_t *seed, float *y|y[i] = vm_uniform((uint32_t)i, *seed)",
    "uniform_seeds": "uint32_t *seeds, float *y|y[i] = vm_uniform(7, seeds[i])",
    "together": "float *x, float *y|float t = vm_exp_np(__builtin_fabsf(x[i])); "
    "y[i] = vm_tanh(vm_max(x[i], 0) + vm_log1p_01(t)) * vm_erf(x[i]) + vm_sin(x[i]) * vm_log(t) * vm_exp(x[i])",
}


def loop(name: str) -> str:
    arguments, body = LOOPS[name].split("|")
    arguments = arguments.replace("*", "*restrict ")
    return f'void k_{name}({arguments}, long n) {{ _Pragma("omp simd") for (long i = 0; i < n; i++) {{ {body}; }} }}'


SOURCE = "\n".join(['#include "vector_math.h"', *map(loop, LOOPS)])


@dataclass(frozen=True)
class Build:
    """A compiler with the options that matter for the results."""

    compiler: str
    options: tuple[str, ...]

    @property
    def has_fma(self) -> bool:
        return "-mno-fma" not in self.options

    def compile(self, folder: Path, *extra: str) -> tuple[Path, str]:
        (folder / "loops.c").write_text(SOURCE)
        library = folder / "loops.so"
        command = [self.compiler, *FLAGS, *self.options, *extra, f"-I{HEADER.parent}"]
        # The linker refuses whatever is undefined, so a call of the mathematical library fails the build.
        strict = ["-nostdlib", "-Wl,-z,defs"] if sys.platform == "linux" else []
        done = subprocess.run(
            [*command, "-shared", "-fPIC", *strict, "loops.c", "-o", str(library)],
            cwd=folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return library, done.stderr


def builds() -> list[Build]:
    native = ("-mcpu=native",) if platform.machine() in {"arm64", "aarch64"} else ("-march=native",)
    found = [Build(c, native) for c in ("gcc", "clang") if shutil.which(c)] or [
        Build(c, native) for c in ("cc",) if shutil.which(c)
    ]
    if found and platform.machine() == "x86_64":
        # A processor of before 2013.
        found.append(Build(found[0].compiler, ("-mno-avx512f", "-mno-avx2", "-mno-fma", "-msse4.2")))
    return found


BUILDS = builds()
NAMES = [f"{build.compiler}{'' if build.has_fma else '-without-fma'}" for build in BUILDS]


@dataclass(frozen=True)
class Library:
    build: Build
    loaded: ctypes.CDLL

    def __call__(self, name: str, *inputs: np.ndarray, out: type = np.float32, size: int | None = None) -> np.ndarray:
        arrays = [np.ascontiguousarray(a) for a in inputs]
        result = np.empty(size or arrays[0].size, dtype=out)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, result)]
        getattr(self.loaded, f"k_{name}")(*pointers, ctypes.c_long(result.size))
        return result


if BUILDS:
    # What stands in the place of a fused multiply-add is the same for every function.
    @pytest.fixture(
        scope="module",
        params=[
            pytest.param(b, marks=[] if b.has_fma else pytest.mark.thorough, id=n)
            for b, n in zip(BUILDS, NAMES, strict=True)
        ],
    )
    def c(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
        path, _ = request.param.compile(tmp_path_factory.mktemp("vector_math"))
        return Library(request.param, ctypes.CDLL(str(path)))

else:

    @pytest.fixture(scope="module")
    def c() -> Library:
        pytest.skip("no C compiler: neither gcc, clang nor cc is on the PATH")


# ---- accuracy --------------------------------------------------------------------------------------------------------


def erf(u: np.ndarray) -> np.ndarray:
    return torch.erf(torch.from_numpy(u)).numpy()


INF = float("inf")


@dataclass(frozen=True)
class Accuracy:
    reference: Callable[[np.ndarray], np.ndarray]
    low: float
    high: float
    ulp: float  # the most that is allowed
    ulp_without_fma: float


ACCURACY = {
    "exp_np": Accuracy(lambda a: np.exp(-a), 0, INF, 1.1, 1.1),
    "expm1_np": Accuracy(lambda a: np.expm1(-a), 0, INF, 1.1, 1.1),
    "exp": Accuracy(np.exp, -INF, INF, 1.1, 1.1),
    "log1p_01": Accuracy(np.log1p, 0, 1, 1.2, 1.6),
    "log": Accuracy(np.log, 0, INF, 1, 1),
    "log1p": Accuracy(np.log1p, -1, INF, 1.7, 1.8),
    "erf": Accuracy(erf, -INF, INF, 1.9, 2.2),
    "tanh": Accuracy(np.tanh, -INF, INF, 2.6, 2.6),
    # Without FMA the reduction by pi / 2 is right to 1e-7 but not relative to results near 0: see the next test.
    "sin": Accuracy(np.sin, -1e4, 1e4, 1.6, INF),
    "cos": Accuracy(np.cos, -1e4, 1e4, 1.6, INF),
    "sqrt": Accuracy(np.sqrt, 0, INF, 0.5, 0.5),
}


def samples(name: str, stride: int) -> Iterator[np.ndarray]:
    low, high = ACCURACY[name].low, ACCURACY[name].high
    yield from floats(low, high, stride)
    yield notable(low, high)


def floats(low: float, high: float, stride: int, chunk: int = 2**21) -> Iterator[np.ndarray]:
    """Every ``stride``-th float in [low, high], infinities and subnormal numbers among them, in pieces."""
    for start in range(0, 2**32, chunk * stride):
        bits = np.arange(start, min(2**32, start + chunk * stride), stride, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        x = x[(x >= low) & (x <= high)]
        if x.size:
            yield x


def notable(low: float, high: float) -> np.ndarray:
    """Powers of two and other places where something changes, each with its neighbours."""
    centres = np.concatenate([2.0 ** np.arange(-149, 128), [88, 88.72284, 87.33655, 103.97, 2 / 3, 4 / 3, 4.0, 0.0]])
    centres = np.concatenate([centres, np.arange(1, 200) * np.log(2) / 2, np.arange(1, 6000) * np.pi / 4])
    centres = np.concatenate([centres, -centres, [INF, -INF], np.array([low, high])]).astype(np.float32)
    around = [centres]
    for _ in range(3):
        with np.errstate(over="ignore", under="ignore"):
            around.append(np.nextafter(around[-1], np.float32(INF)))
    x = np.concatenate([*around, *(-a for a in around)])
    return x[(x >= low) & (x <= high)]


def errors(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distances in units in the last place of the exact result; below 2^-126, zero counts as right."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        # Beyond the largest float the unit is that of the largest: only infinity itself is near enough there.
        last = np.spacing(np.minimum(np.abs(rounded), np.finfo(np.float32).max)).astype(np.float64)
        distance = np.abs(got.astype(np.float64) - exact) / last
    distance[(got == rounded) & np.isinf(got)] = 0
    distance[(got == 0) & (np.abs(exact) < 2.0**-126)] = 0
    distance[np.isnan(exact) & np.isnan(got)] = 0
    distance[np.isnan(distance)] = INF
    return distance


def worst(c: Library, name: str, stride: int) -> tuple[float, float]:
    """The largest error in ulp and where it is."""
    largest = (0.0, 0.0)
    for x in samples(name, stride):
        with np.errstate(all="ignore"):
            exact = ACCURACY[name].reference(x.astype(np.float64))
        distance = errors(c(name, x), exact)
        at = int(distance.argmax())
        largest = max(largest, (float(distance[at]), float(x[at])))
    return largest


@pytest.mark.parametrize("name", ACCURACY)
def test_error_stays_within_the_table(c: Library, name: str):
    wanted = ACCURACY[name]
    limit = wanted.ulp if c.build.has_fma else wanted.ulp_without_fma
    error, x = worst(c, name, STRIDE)
    assert error <= limit, f"vm_{name}({x.hex()}) is off by {error:.3f} ulp"


@pytest.mark.parametrize(("name", "reference"), [("sin", np.sin), ("cos", np.cos)])
def test_circular_functions_far_from_zero(c: Library, name: str, reference: Callable[[np.ndarray], np.ndarray]):
    # Floats in order of their bits are dense near zero; these are as many anywhere.
    reach = 1e6 if c.build.has_fma else 1e4
    x = np.random.default_rng(0).uniform(-reach, reach, 10**6).astype(np.float32)
    assert np.abs(c(name, x) - reference(x.astype(np.float64))).max() < 1e-7
    beyond = np.concatenate(list(floats(-3e38, 3e38, 100 * STRIDE)))
    assert np.abs(c(name, beyond)).max() <= 1


NAN = float("nan")
SPECIAL = {
    "exp_np": [(0, 1), (INF, 0), (1e30, 0), (NAN, NAN)],
    "expm1_np": [(0, 0), (INF, -1), (1e30, -1), (NAN, NAN)],
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (88.73, INF), (1e30, INF), (-1e30, 0), (NAN, NAN)],
    "log1p_01": [(0, 0), (NAN, NAN)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-1e-45, NAN), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "log1p": [(0, 0), (-1, -INF), (INF, INF), (-1.0000001, NAN), (-2, NAN), (-INF, NAN), (NAN, NAN)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN)],
    "sin": [(0, 0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cos": [(0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "sign": [(0, 0), (-0.0, -0.0), (1e-45, 1), (-1e-45, -1), (3, 1), (-3, -1), (INF, 1), (-INF, -1), (NAN, NAN)],
    "sqrt": [(0, 0), (-0.0, -0.0), (INF, INF), (-1, NAN), (NAN, NAN)],
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(c: Library, name: str):
    # 37 times each: both the vector code and the elements left over at the end.
    x, expected = np.repeat(np.array(SPECIAL[name], dtype=np.float32), 37, axis=0).T
    got = c(name, x)
    np.testing.assert_array_equal(got, expected)
    minus = np.signbit(expected) & (expected == 0)
    assert np.signbit(got[minus]).all()


def test_every_nan_stays_nan(c: Library):
    payloads = np.random.default_rng(0).integers(1, 2**23, 1000, dtype=np.uint32)
    payloads[:3] = 1, 2**22, 2**23 - 1
    x = np.concatenate([payloads + np.uint32(0x7F800000), payloads + np.uint32(0xFF800000)]).view(np.float32)
    for name in UNARY:
        assert np.isnan(c(name, x)).all(), name
    assert ((c("store_bf16", x, out=np.uint16) & 0x7FFF) > 0x7F80).all()
    assert ((c("store_f16", x, out=np.uint16) & 0x7FFF) > 0x7C00).all()


@pytest.mark.parametrize("name", ["min", "max"])
def test_min_and_max_hand_on_nan_from_either_side(c: Library, name: str):
    values = np.array([-INF, -2, -0.0, 0, 1e-45, 1, 3, INF, NAN], dtype=np.float32)
    a, b = (side.ravel() for side in np.meshgrid(values, values))
    np.testing.assert_array_equal(c(name, a, b), {"min": np.minimum, "max": np.maximum}[name](a, b))


# ---- half types ------------------------------------------------------------------------------------------------------


def samples_for_rounding() -> np.ndarray:
    """Floats of every exponent, and the ties of both half types with their neighbours."""
    halves = np.arange(2**16, dtype=np.uint32)
    ties = np.concatenate([(halves << 16) + 0x8000, (halves << 16) + 0x1000, (halves << 16) + 0x3000])
    ties = np.concatenate([ties - 1, ties, ties + 1]).astype(np.uint32).view(np.float32)
    # The ties of subnormal float16 are odd multiples of 2^-25.
    tiny = (np.arange(-4096, 4097) * 2.0**-25).astype(np.float32)
    edge = np.array([65504, 65519.996, 65520, 65536, 1e38], dtype=np.float32)
    x = np.concatenate([*floats(-INF, INF, STRIDE), ties, tiny, edge, -edge])
    return x[~np.isnan(x)]


def test_bfloat16(c: Library):
    every = np.arange(2**16, dtype=np.uint16)
    np.testing.assert_array_equal(c("load_bf16", every).view(np.uint32), every.astype(np.uint32) << 16)
    x = samples_for_rounding()
    expected = torch.from_numpy(x).bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(c("store_bf16", x, out=np.uint16), expected)


def test_float16(c: Library):
    every = np.arange(2**16, dtype=np.uint16)
    np.testing.assert_array_equal(c("load_f16", every), every.view(np.float16).astype(np.float32))
    x = samples_for_rounding()
    with np.errstate(over="ignore", under="ignore"):
        expected = x.astype(np.float16).view(np.uint16)
    np.testing.assert_array_equal(c("store_f16", x, out=np.uint16), expected)


# ---- noise -----------------------------------------------------------------------------------------------------------


def mix(h: np.ndarray) -> np.ndarray:
    h = h ^ (h >> 16)
    h = h * np.uint32(0x21F0AAAD)
    h = h ^ (h >> 15)
    h = h * np.uint32(0xD35A2D97)
    return h ^ (h >> 15)


def uniform(index: np.ndarray, seed: np.ndarray) -> np.ndarray:
    golden = np.uint32(0x9E3779B9)
    first = mix(seed + golden)
    second = mix(first + golden)
    h = (index ^ first) * np.uint32(0x9E3779B1)
    h = (h ^ (h >> 15)) * np.uint32(0x21F0AAAD) + second
    h = (h ^ (h >> 16)) * np.uint32(0xD35A2D97)
    return (h >> 8).astype(np.float32) * np.float32(2**-24)


N = 2**20
SEEDS = [0, 1, 2, 3, 12345, 2**31, 2**32 - 1]


def test_noise_is_the_same_in_numpy(c: Library):
    index = np.arange(N, dtype=np.uint32)
    for seed in np.array(SEEDS, dtype=np.uint32)[:, None]:
        np.testing.assert_array_equal(c("uniform", seed, size=N), uniform(index, seed))


def assert_uniform(u: np.ndarray):
    """Within five standard deviations of what independent uniform numbers give."""
    assert 0 <= u.min() < 1e-5
    assert 1 - 1e-5 < u.max() < 1
    n = u.size
    assert abs(u.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / n)
    counts = np.bincount((u * 1024).astype(int), minlength=1024)
    chi_square = ((counts - n / 1024) ** 2).sum() / (n / 1024)
    assert abs(chi_square - 1023) < 5 * np.sqrt(2 * 1023)
    board = (u * 32).astype(int)
    for lag in (1, 2, 3, 8, 64, 196, 256, 784, 1024, 4096, 65536):  # neighbours, rows, channels, images
        assert abs(np.corrcoef(u[lag:], u[:-lag])[0, 1]) < 5 / np.sqrt(n), lag
        # Pairs as points of a 32 by 32 board, which shows dependence that correlation does not.
        expected = (n - lag) / 1024
        cells = np.bincount(board[lag:] * 32 + board[:-lag], minlength=1024)
        chi_square = ((cells - expected) ** 2).sum() / expected
        assert abs(chi_square - 1023) < 6 * np.sqrt(2 * 1023), lag


def test_noise_is_uniform_along_indices_and_along_seeds(c: Library):
    for seed in np.array(SEEDS, dtype=np.uint32)[:, None]:
        assert_uniform(c("uniform", seed, size=N).astype(np.float64))
    assert_uniform(c("uniform_seeds", np.arange(N, dtype=np.uint32)).astype(np.float64))


def test_noise_of_different_seeds_is_unrelated(c: Library):
    streams = [c("uniform", np.array([seed], dtype=np.uint32), size=N) for seed in SEEDS]
    correlation = np.corrcoef(np.array(streams, dtype=np.float64)) - np.eye(len(SEEDS))
    assert np.abs(correlation).max() < 5 / np.sqrt(N)
    # Nor are they the same numbers in another order: two draws of N out of 2^24 share about N^2 / 2^24 of them.
    shared = np.intersect1d(streams[0], streams[1]).size
    distinct = 2**24 * (1 - np.exp(-N / 2**24))
    assert abs(shared - distinct**2 / 2**24) < 2000


# ---- speed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [pytest.param(b, id=n) for b, n in zip(BUILDS, NAMES, strict=True)])
def test_every_loop_is_vectorised(build: Build, tmp_path: Path):
    version = subprocess.run([build.compiler, "--version"], capture_output=True, text=True, timeout=30).stdout
    report = "-Rpass=loop-vectorize" if "clang" in version else "-fopt-info-vec-optimized"
    # Clang's remarks are warnings of a kind.
    _, said = build.compile(tmp_path, report, "-Wno-error")
    vectorised = {int(line.split(":")[1]) for line in said.splitlines() if "vectorized" in line}
    missing = [name for number, name in enumerate(LOOPS, start=2) if number not in vectorised]
    assert not missing, said


def main(stride: int) -> None:
    print(f"| function | domain | {' | '.join(NAMES)} |\n| --- | --- | {' | '.join('---' for _ in NAMES)} |")
    with tempfile.TemporaryDirectory() as folder:
        libraries = []
        for name, build in zip(NAMES, BUILDS, strict=True):
            place = Path(folder) / name
            place.mkdir()
            libraries.append(Library(build, ctypes.CDLL(str(build.compile(place)[0]))))
        for name, wanted in ACCURACY.items():
            found = [worst(c, name, stride)[0] for c in libraries]
            cells = " | ".join(f"{error:.2f}" for error in found)
            print(f"| `vm_{name}` | [{wanted.low:g}, {wanted.high:g}] | {cells} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STRIDE)
