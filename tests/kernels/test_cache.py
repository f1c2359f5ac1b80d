"""The kernel cache, each promise by really doing it: compile, share, damage, refuse, fall back."""

import contextlib
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers_building import (
    GCC,
    ROOT,
    SOURCE,
    counted_calls,
    in_child,
    leftovers,
    libraries,
    needs_gcc,
    needs_root,
    own_folder,
    run_python,
    start_child,
    use_script,
    works,
)

from limen.kernels.bound import BoundFormula
from limen.kernels.c import build, cache
from limen.kernels.c.build import NoCompilerError, cache_folder, cache_size, cache_trouble, clear_cache, load
from limen.kernels.c.calls import _file_name

pytestmark = needs_gcc


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    yield from own_folder(tmp_path, monkeypatch)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    return counted_calls(tmp_path, monkeypatch)


def test_compiles_and_calls(folder):
    assert works()
    assert load(SOURCE, "test") is load(SOURCE, "test")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name.startswith("test-") for path in libraries(folder)] == [True]
    assert leftovers(folder) == []
    assert cache_trouble() == ""
    count, size = cache_size()
    assert count == 2
    assert size == sum(path.stat().st_size for path in folder.iterdir())


def test_another_process_does_not_compile(calls):
    assert works()
    before = calls()
    assert before > 0
    assert run_python(f"from limen.kernels.c.build import load; print(load({SOURCE!r}, 'test').answer(1))") == "2\n"
    assert calls() == before


def test_eight_processes_at_once(folder):
    gate, opener = os.pipe()

    def child():
        os.close(opener)
        os.read(gate, 1)  # Returns in all of them at the moment that the last writer closes.
        return works(), cache_trouble()

    waits = [start_child(child) for _ in range(8)]
    os.close(opener)
    os.close(gate)
    assert [wait() for wait in waits] == [(True, "")] * 8
    assert len(libraries(folder)) == 1
    assert leftovers(folder) == []
    assert works()


def test_eight_threads_at_once_share_one_library(calls):
    found = []
    threads = [threading.Thread(target=lambda: found.append(load(SOURCE, "test"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert calls() == 5  # Its version; compiling and linking the probe; compiling and linking the library.


def test_works_after_a_fork_while_another_thread_compiles(tmp_path, monkeypatch):
    started = tmp_path / "started"
    use_script(tmp_path, monkeypatch, f'touch {started}\nsleep 0.2\nexec {GCC} "$@"')
    thread = threading.Thread(target=works)
    thread.start()
    while not started.exists():
        time.sleep(0.01)
    assert in_child(works) is True
    thread.join()
    assert in_child(lambda: works() and works(SOURCE + "// another", "test")) is True


def test_a_library_is_named_after_the_end_of_its_formulas_name():
    def bent(x):
        return x

    name = _file_name(BoundFormula(bent), "float32")
    assert name.endswith("_its_formulas_name__locals__bent-float32")
    assert len(name) == 40 + len("-float32")


def test_names_are_made_safe(folder):
    assert works(name="../Ünsafe name")
    assert libraries(folder)[0].name.startswith("____nsafe_name-")


# Damage


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path):
    os.truncate(path, 0)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shared(path):
    path.chmod(0o770)


def given_away(path):
    os.chown(path, 65534, 65534)


def linked(path):
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def piped(path):
    path.unlink()
    os.mkfifo(path)


def renamed(path):
    """The entry of another source in its place."""
    build.forget()
    load("int unrelated;", "unrelated")
    other = next(path.parent.glob("unrelated-*.so"))
    other.rename(path)


DAMAGES = [cut_short, emptied, flipped, shared, pytest.param(given_away, marks=needs_root), linked, piped, renamed]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entry_is_built_again(folder, calls, damage):
    assert works()
    path = libraries(folder)[0]
    whole = path.read_bytes()
    damage(path)
    assert cache.read_entry(path) is None
    build.forget()
    before = calls()
    assert works()
    assert calls() == before + 2
    assert path.read_bytes() == whole
    assert not path.is_symlink()
    assert cache.read_entry(path) is not None


@pytest.mark.parametrize("damage", [cut_short, flipped, shared])
def test_damaged_record_of_the_compiler_is_made_again(folder, calls, damage):
    found = build.find_compiler()
    damage(next(folder.glob("*.probe")))
    build.forget()
    before = calls()
    assert build.find_compiler() == found
    assert calls() > before


def test_clear_removes_only_ours(folder):
    assert works()
    (folder / "notes.txt").write_text("keep")
    (folder / "mine.so").write_text("keep")
    (folder / "sub").mkdir()
    (folder / ".build-now").mkdir()
    (folder / ".build-old").mkdir()
    os.utime(folder / ".build-old", (0, 0))
    assert clear_cache() == 2
    assert sorted(path.name for path in folder.iterdir()) == [".build-now", "mine.so", "notes.txt", "sub"]
    assert cache_size() == (0, 0)
    assert works()
    build.forget()
    assert works()


# Folders


def assert_refused(calls, *words):
    """The folder is not used, a kernel works all the same, and the reason can be told."""
    before = calls()
    assert works()
    assert calls() > before
    trouble = cache_trouble()
    assert all(word in trouble for word in (str(cache_folder()), *words)), trouble
    assert cache_size() == (0, 0)
    assert clear_cache() == 0


@needs_root
def test_folder_of_another_user_is_refused(folder, calls):
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    assert_refused(calls, "another user")
    assert list(folder.iterdir()) == []


@needs_root
def test_root_makes_no_folder_in_the_home_of_another_user(tmp_path, monkeypatch, calls):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    monkeypatch.delenv("LIMEN_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    assert_refused(calls, "root")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_folder_that_others_can_write_to_is_refused(folder, calls, mode):
    folder.mkdir()
    folder.chmod(mode)
    assert_refused(calls, "by others")
    assert list(folder.iterdir()) == []


def test_link_to_a_folder_that_others_can_write_to_is_refused(tmp_path, folder, calls):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    folder.symlink_to(tmp_path / "open")
    assert_refused(calls, "by others")
    assert list((tmp_path / "open").iterdir()) == []


def test_link_to_a_folder_of_ours_is_followed(tmp_path, folder):
    (tmp_path / "real").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "real")
    assert works()
    assert cache_trouble() == ""
    assert len(libraries(tmp_path / "real")) == 1


def test_folder_below_a_file(tmp_path, monkeypatch, calls):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIMEN_CACHE", str(tmp_path / "file" / "cache"))
    assert_refused(calls, "file is not a folder")


def test_file_in_place_of_the_folder(folder, calls):
    folder.touch()
    assert_refused(calls, "not a folder")


@needs_root
def test_home_that_cannot_be_written():
    def child():
        os.environ.pop("LIMEN_CACHE")
        os.environ.pop("XDG_CACHE_HOME", None)
        os.environ.update(HOME="/usr", TMPDIR="/tmp")
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.chdir("/")
        return works(), cache_trouble()

    before = set(Path("/tmp").glob(".build-*"))
    worked, trouble = in_child(child)
    assert worked is True
    assert "/usr/.cache/limen/kernels cannot be used: Permission denied" in trouble
    assert {path for path in set(Path("/tmp").glob(".build-*")) - before if path.stat().st_uid == 65534} == set()


def test_no_home(monkeypatch):
    monkeypatch.delenv("LIMEN_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # What it does for a user without a home.
    assert works()
    assert "no home" in cache_trouble()


@contextlib.contextmanager
def small_disk(folder, *options):
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("mode=700", *options)), "tmpfs", str(folder)]
    if not ROOT or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("pages", [0, 1, 3, 5])
def test_full_disk(folder, calls, pages):
    """Full at once, or only for the object file, the library or its digest."""
    with small_disk(folder, "size=256k"):
        build.find_compiler()
        with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        os.truncate(folder / "filler", (folder / "filler").stat().st_size - 4096 * pages)
        assert works()
        assert "could not be written" in cache_trouble()
        assert libraries(folder) == []
        assert leftovers(folder) == ["filler"]


def test_read_only_file_system(folder, calls):
    with small_disk(folder, "ro"):
        assert_refused(calls, "cannot be written to")


def test_file_system_that_runs_no_programs(folder, calls):
    with small_disk(folder, "noexec"):
        assert_refused(calls, "runs no programs")


def test_nowhere_to_write(tmp_path, folder, monkeypatch):
    folder.touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(NoCompilerError, match="no folder to compile in"):
        works()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LIMEN_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/limen/kernels"),
        ({"XDG_CACHE_HOME": "not/absolute", "HOME": "/h"}, "/h/.cache/limen/kernels"),
        ({"HOME": "/h"}, "/h/.cache/limen/kernels"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has ~/Library/Caches")
def test_where_the_folder_is(monkeypatch, environment, expected):
    for name in ("LIMEN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected
