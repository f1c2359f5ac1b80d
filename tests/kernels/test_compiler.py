"""The compiler that is found, what happens with those that fail, hang or know little, and the threads."""

import ctypes
import shutil
import sys
import time
from importlib.util import find_spec

import pytest
from helpers_building import (
    GCC,
    SOURCE,
    WRITES_GARBAGE,
    counted_calls,
    libraries,
    needs_gcc,
    own_folder,
    run_python,
    use_script,
    works,
)

from limen.kernels.c import build, compiler, threads
from limen.kernels.c.build import NoCompilerError, cache_trouble, load
from limen.kernels.c.parts import Task, preamble

pytestmark = needs_gcc


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    yield from own_folder(tmp_path, monkeypatch)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    return counted_calls(tmp_path, monkeypatch)


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code = f"""
        from limen.kernels.c.build import load, NoCompilerError
        try:
            load({SOURCE!r}, "test")
        except NoCompilerError as error:
            print(error)
    """
    assert (
        run_python(code)
        == "No C compiler was found: install gcc or clang, or pip install 'limen[compiler]', or name one in LIMEN_CC.\n"
    )


def test_zigs_package_is_the_last_that_is_looked_for(tmp_path, monkeypatch):
    package, cc = tmp_path / "packages" / "ziglang", shutil.which("gcc")
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    zig = package / "zig"
    zig.write_text(f'#!/bin/sh\ntest "$1" = cc && shift && PATH=/usr/bin:/bin exec {cc} "$@"\n')
    zig.chmod(0o755)
    monkeypatch.syspath_prepend(package.parent)
    assert compiler.compiler_words()[1:] == ()  # the system's
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler.compiler_words() == (str(zig), "cc")
    assert works()


def test_named_compiler_that_is_missing(monkeypatch):
    monkeypatch.setenv("LIMEN_CC", "no-such-cc -m64")
    with pytest.raises(NoCompilerError, match="LIMEN_CC is 'no-such-cc -m64', and no such program can be run"):
        works()
    monkeypatch.setenv("LIMEN_CC", "gcc 'unbalanced")
    build.forget()
    with pytest.raises(NoCompilerError, match="no such program"):
        works()
    monkeypatch.delenv("LIMEN_CC")
    monkeypatch.setenv("CC", "no-such-cc")
    build.forget()
    assert works()


def test_command_with_options_and_none_of_fast_math(monkeypatch):
    monkeypatch.setenv("CC", f"{GCC} -DOFFSET=1 -ffast-math -Ofast -fopenmp")
    source = SOURCE.replace("n + 1", "n + OFFSET")
    assert works(source)
    flags = build.find_compiler().flags
    assert "-DOFFSET=1" in flags
    assert not {"-ffast-math", "-Ofast"} & set(flags)
    assert sys.float_info.min / 2 > 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 1", "failed with exit code 1: it said nothing"),
        ("echo first >&2\necho second >&2\nexit 3", "failed with exit code 3: first"),
        ("kill -9 $$", "was killed by signal 9"),
        ("exit 0", "wrote no library"),
        (f"{WRITES_GARBAGE}\nexit 0", "cannot be loaded"),
    ],
)
def test_compiler_that_fails(tmp_path, monkeypatch, folder, body, message):
    use_script(tmp_path, monkeypatch, body)
    with pytest.raises(NoCompilerError, match=message):
        works()
    assert list(folder.iterdir()) == []
    assert cache_trouble() == ""


@pytest.mark.parametrize("to", [1, 2])
def test_compiler_that_prints_without_end_is_stopped(tmp_path, monkeypatch, folder, to):
    use_script(tmp_path, monkeypatch, f"echo \"first $(printf '\\033[31m')\" >&2\nexec yes error of the kernel >&{to}")
    start = time.monotonic()
    with pytest.raises(NoCompilerError, match=r"printed more than 1,048,576 bytes and was stopped: first \[31m"):
        works()
    assert time.monotonic() - start < 20
    assert list(folder.iterdir()) == []


def test_what_a_compiler_says_is_repeated_in_part(tmp_path, monkeypatch):
    use_script(
        tmp_path, monkeypatch, "head -c 500000 /dev/zero | tr '\\0' 'e' >&2\nprintf '\\033[1m error' >&2\nexit 1"
    )
    with pytest.raises(NoCompilerError) as caught:
        works()
    said = str(caught.value).partition("exit code 1: ")[2]
    assert said == "e" * 200


def test_false_is_no_compiler(monkeypatch):
    monkeypatch.setenv("LIMEN_CC", "/bin/false")
    with pytest.raises(NoCompilerError, match="failed with exit code 1"):
        works()


def test_compiler_that_writes_garbage_from_one_day_on(tmp_path, monkeypatch, folder):
    broken = tmp_path / "broken"
    body = f'[ -e {broken} ] || exec {GCC} "$@"\n{WRITES_GARBAGE}\nexit 0'
    use_script(tmp_path, monkeypatch, body)
    build.find_compiler()
    broken.touch()
    with pytest.raises(NoCompilerError, match="cannot be loaded"):
        works()
    assert libraries(folder) == []
    broken.unlink()
    build.forget()
    assert works()


def test_compiler_that_hangs(tmp_path, monkeypatch, folder):
    use_script(tmp_path, monkeypatch, f"echo x >> {tmp_path}/calls\n(sleep 2; touch {tmp_path}/late) &\nsleep 60")
    monkeypatch.setattr(compiler, "TIMEOUT", 0.5)
    start = time.monotonic()
    for _ in range(3):
        with pytest.raises(NoCompilerError, match="did not finish within"):
            works()
    assert time.monotonic() - start < 30
    assert (tmp_path / "calls").read_text() == "x\n"  # It hung once, not once for every option and kernel.
    assert list(folder.iterdir()) == []
    time.sleep(2)
    assert not (tmp_path / "late").exists()  # What the script had started is gone too.


def test_source_that_is_wrong_says_so(folder):
    with pytest.raises(NoCompilerError, match=r"kernel\.c:1:.*error"):
        load("int f(void) { return nonsense; }", "wrong")
    assert cache_trouble() == ""
    assert works()


def test_compiler_that_knows_few_options(tmp_path, monkeypatch):
    """Neither -march=native nor -mcpu=native nor OpenMP's simd: the plainest options remain."""
    reject = 'for o; do case "$o" in -march=*|-mcpu=*|-fopenmp*) echo "unknown option $o" >&2; exit 1;; esac; done'
    use_script(tmp_path, monkeypatch, f'{reject}\nexec {GCC} "$@"')
    assert works()
    assert build.find_compiler().flags == compiler.FLAGS


def test_key_holds_everything(monkeypatch):
    found = build.find_compiler()
    variants = {
        build.entry_name(SOURCE, "test", found),
        build.entry_name(SOURCE + " ", "test", found),
        build.entry_name(SOURCE, "test", compiler.Compiler(found.path, found.version, found.flags[:-1])),
        build.entry_name(SOURCE, "test", compiler.Compiler("/other/cc", found.version, found.flags)),
        build.entry_name(SOURCE, "test", compiler.Compiler(found.path, "13", found.flags)),
    }
    monkeypatch.setattr(build, "cpu_identity", lambda: "another machine")
    variants.add(build.entry_name(SOURCE, "test", found))
    monkeypatch.undo()
    monkeypatch.setattr(build, "ABI", "another")
    variants.add(build.entry_name(SOURCE, "test", found))
    assert len(variants) == 7


def test_cpu_identity_does_not_change_with_the_clock():
    first = compiler.cpu_identity()
    compiler.cpu_identity.cache_clear()
    assert compiler.cpu_identity() == first
    assert "MHz" not in first


# threads

MARK = Task("mark", "int64_t *marks", "for (int64_t i = begin; i < end; i++) marks[i] = 1 + limen_threads.number();")
ALONE = Task("alone", "int64_t *marks", "for (int64_t i = begin; i < end; i++) marks[i]++;")
SHARED = f"""{preamble("float32")}
{MARK.definition}
{ALONE.definition}
EXPORT void mark_all(int64_t *marks, int64_t n, int threads) {{ {MARK.shared("n")} }}
EXPORT void count_all(int64_t *marks, int64_t n, int threads) {{ {ALONE.shared("n")} }}
"""
COMPILERS = [
    pytest.param("gcc", marks=needs_gcc),
    pytest.param("clang", marks=pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang")),
    pytest.param(
        f"{sys.executable} -m ziglang cc", marks=pytest.mark.skipif(not find_spec("ziglang"), reason="needs ziglang")
    ),
]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("cc", COMPILERS)
def test_runs_on_the_threads_of_torch(cc):
    """Whatever the compiler: on as many, each with as much to do, and on no pool of threads but torch's."""
    code = f"""
        import ctypes, torch
        from limen.kernels.c.build import load
        library = load({SHARED!r}, "shared")
        for n in (2, 1, 3, 2):
            torch.set_num_threads(n)
            for count in (0, 1, 7, 600):
                marks = (ctypes.c_int64 * count)()
                library.mark_all(marks, ctypes.c_int64(count), torch.get_num_threads())
                each = [list(marks).count(1 + number) for number in range(n)]
                assert sum(each) == count and max(each) - min(each) <= 1, (n, count, list(marks))
                assert list(marks) == sorted(marks)
            torch.randn(1 << 20).exp()
        mapped = {{line.split()[-1] for line in open("/proc/self/maps") if "omp" in line.split()[-1].split("/")[-1]}}
        print(*mapped, sep="\\n")
    """
    mapped = run_python(code, LIMEN_CC=cc, OMP_NUM_THREADS="2").split()
    assert len(mapped) == 1
    assert "/torch" in mapped[0]


@pytest.mark.parametrize("missing", ["another runtime", "no entry point"])
def test_one_thread_where_those_of_torch_cannot_be_reached(monkeypatch, missing):
    if missing == "another runtime":
        monkeypatch.setattr(threads, "_sets_threads_of_torch", lambda process: False)
    else:
        monkeypatch.setattr(threads, "ENTRY_POINTS", ("GOMP_of_the_future", *threads.ENTRY_POINTS[1:]))
    threads.entry_points.cache_clear()
    marks = (ctypes.c_int64 * 9)()
    load(SHARED, missing).count_all(marks, ctypes.c_int64(9), 4)
    monkeypatch.undo()
    threads.entry_points.cache_clear()
    assert list(marks) == [1] * 9
