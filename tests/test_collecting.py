"""Python's search for what is kept by itself alone: left out while reading, after every run, seldom in a command."""

import gc
import weakref

import pytest
from helpers_building import run_python

from limen.collecting import freed_afterwards, without_collection


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


class Loop:
    """What only Python's search frees."""

    def __init__(self):
        self.itself = self


def test_what_a_run_made_is_freed_when_it_ends_and_what_was_there_is_not_searched():
    before = Loop()
    found_before, before = weakref.ref(before), None
    with freed_afterwards():
        made = weakref.ref(Loop())
        assert made() is not None
    assert made() is None
    assert found_before() is not None
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert found_before() is None


def test_what_a_run_made_is_freed_though_it_failed():
    made = []

    def fail():
        made.append(weakref.ref(Loop()))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), freed_afterwards():
        fail()
    assert made[0]() is None


def test_what_a_parent_froze_stays_so():
    gc.freeze()
    try:
        with freed_afterwards():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_a_command_searches_everything_seldom_and_nothing_at_its_end():
    code = """
        import atexit, gc, sys
        atexit.register(lambda: print("frozen at the end:", gc.get_freeze_count() > 0))
        before = gc.get_threshold()
        from limen.cli import main
        from limen.collecting import SELDOM
        sys.argv = ["limen", "--help"]
        try:
            main()
        finally:
            assert gc.isenabled()
            assert gc.get_threshold() == (*before[:2], SELDOM), gc.get_threshold()
    """
    assert run_python(code).splitlines()[-1] == "frozen at the end: True"
