"""When Python searches for objects that are kept by themselves alone."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from limen.collecting import SELDOM, without_collection

SAYS = """
import atexit, gc
# Called after what the command line asks for: the last that is asked for is called first.
atexit.register(lambda: print(gc.get_freeze_count() > 0, *gc.get_threshold()))
before = gc.get_threshold()
print(gc.get_freeze_count() > 0, *before)
import sys
from limen import cli
sys.argv = ["limen", "--version-of-nothing"]
cli.main()
"""


def test_a_command_searches_everything_seldom_and_nothing_when_it_ends() -> None:
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=False)
    before, after = (line.split() for line in done.stdout.splitlines())
    assert before[0] == "False"
    assert after == ["True", before[1], before[2], str(SELDOM)], done.stderr


@pytest.mark.parametrize("collects", [True, False])
def test_collection_is_as_it_was_after_an_error_too(collects: bool) -> None:
    was = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(ValueError), without_collection():
            assert not gc.isenabled()
            raise ValueError
        assert gc.isenabled() == collects
    finally:
        (gc.enable if was else gc.disable)()
