"""Runs as Ray's tasks: the same rows, whatever becomes of a process or a machine of Ray's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_executing import children, living, rows, until
from helpers_lab import TINY_OPTIONS, Recorder, forked_command, tiny

from limen.errors import LimenError, SpecError, StudyError
from limen.lab.executing import on_ray
from limen.lab.executing.execution import ONE, Execution
from limen.lab.records import EpochRow
from limen.lab.study.compare import compare

pytestmark = [
    pytest.mark.faults,
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


SECONDS_TO_END = 5
"""In which all processes are gone."""


def descendants(pid: int) -> list[int]:
    """What a process has made, and what that has."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    compare(tiny(), out, Recorder(), execution=ONE)
    return out


class Doing(Recorder):
    """Does something once, when the first epoch has passed of a run that fits."""

    def __init__(self, deed: Callable[[str], bool]) -> None:
        super().__init__()
        self.deed, self.undone = deed, True
        self.where: dict[tuple[str, int], str] = {}

    def run_started(self, activation: str, seed: int, where: str = "") -> None:
        super().run_started(activation, seed, where)
        self.where[activation, seed] = where

    def epoch(self, activation: str, seed: int, row: EpochRow) -> None:
        super().epoch(activation, seed, row)
        if self.undone:
            self.undone = not self.deed(self.where[activation, seed])


def pid_in(where: str) -> int:
    return int(where.split()[1])


def test_rows_are_those_of_this_machine_though_a_process_is_killed(cluster: Any, alone: Path, tmp_path: Path) -> None:
    def kill(where: str) -> bool:
        os.kill(pid_in(where), signal.SIGKILL)
        return True

    heard = Doing(kill)
    compare(tiny(epochs=2), tmp_path, heard, execution=Execution(on=f"ray:{cluster.address}"))
    assert rows(tmp_path) == rows(alone)
    assert len(heard.lost) == 1
    assert "epoch 2: training loss" in (tmp_path / "logs" / "asau-seed1.log").read_text()


def node_of(pid: int, nodes: list[Any]) -> Any:
    """The node whose raylet made a process."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    raylets = {node: next(iter(node.all_processes["raylet"])).process.pid for node in nodes}
    return next((node for node, raylet in raylets.items() if raylet == parent), None)


def test_a_machine_that_is_gone_costs_no_row(cluster: Any, alone: Path, tmp_path: Path) -> None:
    other = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def take_away(where: str) -> bool:
        if node_of(pid_in(where), [other]) is None:
            return False
        cluster.remove_node(other, allow_graceful=False)
        return True

    heard = Doing(take_away)
    compare(tiny(), tmp_path, heard, execution=Execution(on=f"ray:{cluster.address}"))
    assert not heard.undone
    assert heard.lost
    assert rows(tmp_path) == rows(alone)


def test_a_network_of_ones_own_is_shipped_and_a_run_that_does_not_end_is_ended(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_it.py").write_text("import time\nfrom torch import nn\n")
    (tmp_path / "own_net.py").write_text(
        "import os\n"
        "from beside_it import nn, time\n\n"
        "def build(in_channels, image_size, num_classes):\n"
        "    if 'RAY_JOB_ID' in os.environ: time.sleep(600)\n"
        "    size = in_channels * image_size[0] * image_size[1]\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.ReLU(), nn.Linear(8, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    settings = tiny(network="own_net:build", activations=("relu",), seeds=(0,))
    execution = Execution(on=f"ray:{cluster.address}", timeout_per_run=3)
    result = compare(settings, tmp_path / "out", Recorder(), execution=execution)
    assert [run.failure for run in result.runs] == ["it had not ended after 3 seconds (--timeout-per-run)."]


def test_more_than_there_is(cluster: Any, tmp_path: Path) -> None:
    execution = Execution(on=f"ray:{cluster.address}", gpus_per_run=0.5)
    with pytest.raises(StudyError, match=r"--gpus-per-run 0.5 is more than any machine of this Ray has: 0 of 0 GPUs"):
        compare(tiny(), tmp_path, Recorder(), execution=execution)


def refusal(address: str, tmp_path: Path) -> LimenError:
    with pytest.raises(LimenError) as caught:
        compare(tiny(), tmp_path / "out", Recorder(), execution=Execution(on=f"ray:{address}"))
    assert not (tmp_path / "out").exists()
    return caught.value


def test_an_address_where_no_ray_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    assert "no Ray answers at '127.0.0.1:1' (Connection refused)" in str(refusal("127.0.0.1:1", tmp_path))
    assert "'nowhere' is no address of Ray" in str(refusal("nowhere", tmp_path))
    for client in ("//127.0.0.1:10001", "ray://127.0.0.1:10001"):
        said = str(refusal(client, tmp_path))
        assert said.startswith("'ray://127.0.0.1:10001' is an address of Ray's client, over which no run can be comp")
        assert "--on ray:HOST:6379, or --on ray:auto" in said
    assert "no Ray answers at 'no.such.host.invalid:6379' (" in str(refusal("no.such.host.invalid:6379", tmp_path))
    monkeypatch.setattr(on_ray, "PATIENCE", 6.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        began = time.monotonic()
        said = str(refusal(f"127.0.0.1:{other.getsockname()[1]}", tmp_path))
        assert "(nothing came within 6 seconds); start one with 'ray start --head'" in said
        assert time.monotonic() - began < 20


def test_a_ray_that_wants_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "_library", lambda: None)
    answer = subprocess.CompletedProcess([], 1, b"", b"ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    on_ray.require_answer("auto")  # connecting, Ray finds it by itself
    with (
        socket.create_server(("127.0.0.1", 0)) as there,
        pytest.raises(StudyError, match=r"wants its token; set RAY_AUTH_MODE=token, .* or give --on ray:auto"),
    ):
        on_ray.require_answer(f"127.0.0.1:{there.getsockname()[1]}")


def test_ctrl_c_ends_all_of_a_ray_of_our_own(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    options = ("--activations", "relu,asau", "--seeds", "2", "--epochs", "100000", "--on", "ray")
    command = forked_command(tmp_path / "said", "compare", *TINY_OPTIONS, *options, "--out", tmp_path / "out")
    until(lambda: any("epoch 1:" in log.read_text() for log in (tmp_path / "out" / "logs").glob("*.log")), 300)
    made = descendants(command.process.pid)
    assert len(made) > 4
    command.interrupt()
    until(lambda: not living([*made, command.process.pid]), SECONDS_TO_END)
    assert command.wait().code == 130


def test_a_gpu_must_be_set_aside() -> None:
    with pytest.raises(SpecError, match="give --gpus-per-run, such as 1"):
        Execution(on="ray").check("cuda:0")
