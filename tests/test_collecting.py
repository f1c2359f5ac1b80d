"""Python's search for what is kept by itself alone: left out while reading, seldom in a command."""

import gc
import subprocess
import sys

import pytest

from limen.collecting import without_collection


def test_there_is_none_inside_and_it_goes_on_afterwards():
    assert gc.isenabled()
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_an_error():
    with pytest.raises(ZeroDivisionError), without_collection():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_it_stays_off_where_it_was():
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_command_searches_everything_seldom_and_what_is_new_as_before():
    code = "\n".join([
        "import gc",
        "before = gc.get_threshold()",
        "from limen.collecting import SELDOM, seldom",
        "seldom()",
        "assert gc.isenabled()",
        "assert gc.get_threshold() == (*before[:2], SELDOM), gc.get_threshold()",
    ])  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)
