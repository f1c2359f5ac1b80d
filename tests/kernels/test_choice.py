"""A backend is a thread's own choice, and a task's; a backward pass computes again as its caller chose."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import limen
from limen.kernels import choice


def in_thread(function: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_another_thread_does_not_see_a_block() -> None:
    with limen.use_backend("plain"):
        assert in_thread(choice.chosen) == "auto"
        with limen.use_backend("c"):
            assert choice.chosen() == "c"
        assert choice.chosen() == "plain"
    assert choice.chosen() == "auto"


def test_what_torch_keeps_is_counted() -> None:
    """Where it is not, as by torch 2.7.1, the name of a backend is freed while Python still compares with it."""
    value: Any = object()
    before = sys.getrefcount(value)
    choice._hand(value)
    assert sys.getrefcount(value) == before + 1
    choice._hand(None)
    assert sys.getrefcount(value) == before


def test_overlapping_blocks_of_two_threads() -> None:
    turns = [threading.Event() for _ in range(3)]
    seen: dict[str, list[str]] = {"plain": [], "c": []}

    def first() -> None:
        with limen.use_backend("plain"):
            turns[0].set()
            turns[1].wait(9)
            seen["plain"].append(choice.chosen())
        turns[2].set()
        seen["plain"].append(choice.chosen())

    def second() -> None:
        turns[0].wait(9)
        with limen.use_backend("c"):
            turns[1].set()
            turns[2].wait(9)
            seen["c"].append(choice.chosen())
        seen["c"].append(choice.chosen())

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"plain": ["plain", "auto"], "c": ["c", "auto"]}
    assert choice.chosen() == "auto"
    assert choice.blocks == 0


def test_tasks_of_one_thread_choose_apart() -> None:
    async def run(name: Any, wait: int) -> str:
        with limen.use_backend(name):
            for _ in range(wait):
                await asyncio.sleep(0)
            return choice.chosen()

    async def both() -> list[str]:
        return await asyncio.gather(run("plain", 1), run("c", 3), run("auto", 2))

    assert asyncio.run(both()) == ["plain", "c", "auto"]
    assert choice.chosen() == "auto"


def test_an_error_closes_its_block() -> None:
    with pytest.raises(ZeroDivisionError), limen.use_backend("plain"):
        raise ZeroDivisionError
    assert choice.chosen() == "auto"
    assert choice.blocks == 0


def test_the_backward_pass_is_the_forward_passs_wherever_it_runs() -> None:
    module, x = limen.ASAU(), torch.randn(30, requires_grad=True)
    with limen.use_backend("plain"):
        plain = module(x)
    kernel = module(x)
    assert "Recorded" not in type(plain.grad_fn).__name__
    assert "Recorded" in type(kernel.grad_fn).__name__
    with limen.use_backend("plain"):
        in_thread(kernel.sum().backward)
    by_kernel, x.grad = x.grad, None
    plain.sum().backward()
    torch.testing.assert_close(by_kernel, x.grad)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # what is nested is run without
def test_autograds_threads_compute_again_as_their_caller_chose() -> None:
    # Torch hands reentrant backward passes to another thread after sixty of them.
    seen, threads = set(), set()

    def deeper(levels: int, x: Tensor) -> Tensor:
        seen.add(choice.chosen())
        threads.add(threading.get_ident())
        y = x * 1.01
        return checkpoint(deeper, levels - 1, y, use_reentrant=True) if levels else y

    with limen.use_backend("plain"):
        deeper(65, torch.ones(2, requires_grad=True)).sum().backward()
    assert seen == {"plain"}
    assert len(threads) > 1


def test_a_program_compiled_within_a_block_or_around_one() -> None:
    module, x = limen.Swish(), torch.ones(2)

    def graph_of(function: Any) -> str:
        graphs = []
        torch._dynamo.reset()
        torch.compile(function, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph.forward)(x)
        return str(graphs[0].code)

    def within(x: Tensor) -> Tensor:
        with limen.use_backend("plain"):
            return module(x)

    assert "limen.forward" in graph_of(module)
    assert "limen.forward" not in graph_of(within)
    assert "limen.forward" in graph_of(lambda x: module(within(x)))
    with limen.use_backend("plain"):
        assert "limen.forward" not in graph_of(module)
