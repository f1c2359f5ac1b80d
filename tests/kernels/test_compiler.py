"""The compiler that is found, what happens with those that fail, hang or know little, and the threads."""

import shutil
import sys
import time

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

from limen.kernels.c import build, compiler
from limen.kernels.c.build import NoCompilerError, cache_trouble, load

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
    assert run_python(code) == "No C compiler was found: install gcc or clang, or name one in LIMEN_CC.\n"


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
    """Neither -march=native nor -mcpu=native nor OpenMP: the plainest options remain."""
    reject = 'for o; do case "$o" in -march=*|-mcpu=*|-fopenmp*) echo "unknown option $o" >&2; exit 1;; esac; done'
    use_script(tmp_path, monkeypatch, f'{reject}\nexec {GCC} "$@"')
    assert works()
    found = build.find_compiler()
    assert found.openmp is False
    assert found.flags == compiler.FLAGS


def test_key_holds_everything(monkeypatch):
    found = build.find_compiler()
    variants = {
        build.entry_name(SOURCE, "test", found),
        build.entry_name(SOURCE + " ", "test", found),
        build.entry_name(SOURCE, "test", found.without_openmp()),
        build.entry_name(SOURCE, "test", compiler.Compiler("/other/cc", found.version, found.flags, found.openmp)),
        build.entry_name(SOURCE, "test", compiler.Compiler(found.path, "13", found.flags, found.openmp)),
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


# OpenMP

PARALLEL = """
extern int omp_get_max_threads(void);
__attribute__((visibility("default"))) int most(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return -1;
#endif
}
__attribute__((visibility("default"))) int used(void) {
    int n = 0;
#pragma omp parallel reduction(+ : n)
    n += 1;
    return n;
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_runs_on_the_threads_of_torch():
    code = f"""
        import torch
        from limen.kernels.c.build import find_compiler, load
        library = load({PARALLEL!r}, "parallel")
        assert find_compiler().openmp
        for n in (1, 2, 1, 2):
            torch.set_num_threads(n)
            assert (library.most(), library.used()) == (n, n), (library.most(), library.used())
            torch.randn(1 << 20).exp()
        mapped = {{line.split()[-1] for line in open("/proc/self/maps") if "omp" in line.split()[-1].split("/")[-1]}}
        print(*mapped, sep="\\n")
    """
    mapped = run_python(code, LIMEN_CC=GCC, OMP_NUM_THREADS="2").split()
    assert len(mapped) == 1
    assert "/torch" in mapped[0]


def test_missing_openmp_symbol_is_built_without(folder, calls):
    """As when the compiler is newer than the runtime that torch brings."""
    source = (
        SOURCE
        + """
#ifdef _OPENMP
extern void GOMP_of_the_future(void);
__attribute__((visibility("default"))) void future(void) { GOMP_of_the_future(); }
#endif
"""
    )
    assert works(source)
    assert not hasattr(load(source, "test"), "future")
    before = calls()
    build.forget()
    assert works(source)
    assert calls() == before


def test_no_openmp_where_torch_does_not_share_its_runtime(monkeypatch):
    monkeypatch.setattr(build, "shares_torch_threads", lambda: False)
    assert build.find_compiler().openmp is False
    assert load(PARALLEL, "parallel").most() == -1


@pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang")
def test_clang(monkeypatch):
    """It calls another runtime (libomp), which torch's libgomp cannot stand in for."""
    monkeypatch.setenv("LIMEN_CC", "clang")
    assert works()
    assert load(PARALLEL, "parallel").used() >= 1


def test_openmp_is_for_compiling_and_not_for_linking(tmp_path, calls):
    assert works()
    steps = [line.split() for line in (tmp_path / "calls").read_text().splitlines() if "kernel.o" in line]
    for step in steps:
        assert "-O3" in step
        assert (compiler.OPENMP in step) == ("-c" in step and build.find_compiler().openmp)
    assert len(steps) >= 2
