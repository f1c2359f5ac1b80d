"""Every test starts from the same random state and leaves no registered names behind."""

import os
import sys
from importlib.util import find_spec

# Compiled kernels stay in the checkout.
os.environ.setdefault("LIMEN_CACHE", os.path.join(os.path.dirname(__file__), "..", ".cache", "kernels"))
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker is a process: threads on top of them would only wait for one another.
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings

from limen.activations import registry

# What imports Triton is not looked at where there is none.
collect_ignore = [] if find_spec("triton") else ["kernels/triton_compiling.py"]

# No test asserts a time. CI tries the same examples every time; elsewhere hypothesis looks for new ones.
settings.register_profile("limen", deadline=None, max_examples=50, derandomize=bool(os.environ.get("CI")))
settings.load_profile("limen")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of tests by property some are thorough: of ``ONE_MORE_FORMULA``, and of half types; forks come first.

    What is feigned in a test is so in forks alone, and once torch has begun threads for gradients, as some tests make
    it do, processes are no forks any more.
    """
    from helpers import ALL, ONE_MORE_FORMULA, QUICK_FOR_ALL, QUICK_IN_HALF

    items.sort(key=lambda item: item.path.name != "test_processes.py")

    for item in items:
        given = getattr(item, "callspec", None)
        named = given and any(isinstance(value, str) and value in ONE_MORE_FORMULA for value in given.params.values())
        if named and item.path.name not in QUICK_FOR_ALL:
            item.add_marker(pytest.mark.thorough)
        values = [] if given is None else [*given.params.values()]
        names = {value for value in values if isinstance(value, str) and value in ALL}
        types = {value for value in values if isinstance(value, torch.dtype)}
        if torch.float16 in types or (torch.bfloat16 in types and names and not names & QUICK_IN_HALF):
            item.add_marker(pytest.mark.thorough)


@pytest.fixture(autouse=True, scope="session")
def _own_inductor_cache(tmp_path_factory):
    """What torch.compile builds is not kept: a process that was killed would leave broken files to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_power_is_cut():
    """Files are not flushed to the disk: hundreds are written, and what they hold is read while the power is on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _same_random_state():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _registry_restored(monkeypatch):
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))


@pytest.fixture(autouse=True)
def _few_timings(monkeypatch):
    """No test asserts a time, so a study of a test times its steps twice instead of twenty times."""
    if cost := sys.modules.get("limen.lab.training.cost"):  # the lab takes seconds to import
        monkeypatch.setattr(cost, "ROUNDS", 2)


@pytest.fixture(autouse=True)
def _brief(request):
    """Pages have no drawings, each of which takes a tenth of a second, but for tests that are marked ``drawn``."""
    if "limen.lab.report.page" in sys.modules and not request.node.get_closest_marker("drawn"):
        from helpers_lab import briefly  # the lab takes seconds to import

        with briefly():
            yield
    else:
        yield
