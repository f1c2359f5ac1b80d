"""A report that is served: to this machine, of this study, anew when a run has ended, and nothing beside it."""

from __future__ import annotations

import html
import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread

import pytest
from helpers_lab import Command, briefly, command, forked_command, stored

from limen.commands import interrupting
from limen.lab.study import serving
from limen.lab.study.store import StudyFolder

STUDY = Path(__file__).parents[2] / "fixtures" / "studies" / "digits"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    shutil.copytree(STUDY, tmp_path / "home" / "study")
    return tmp_path / "home" / "study"


@pytest.fixture
def server(study: Path) -> Iterator[serving._Server]:
    with serving._Server((serving.HOST, 0), serving._Handler) as found, briefly():
        found.pages = serving.Pages(StudyFolder(study))
        Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def answered(server: serving._Server, path: str, method: str = "GET", host: str = "") -> tuple[HTTPResponse, str]:
    link = HTTPConnection(serving.HOST, server.server_port, timeout=60)
    link.request(method, path, headers={"Host": host} if host else {})
    answer = link.getresponse()
    body = answer.read().decode()
    link.close()
    return answer, body


def asked(server: serving._Server, path: str) -> str:
    answer, body = answered(server, path)
    assert answer.status == 200, body
    return body


def test_page_records_and_tables_are_served(server: serving._Server, study: Path) -> None:
    before = stored(study)
    page = html.unescape(asked(server, "/"))
    assert "asau" in page
    assert "connect-src 'self'" in page
    for link in re.findall(r'href="((?:runs|summary)[^"#:]*)"', page):
        assert asked(server, f"/{link}") == (study / link).read_text()
    assert json.loads(asked(server, "/runs/asau-seed0.json"))["seed"] == 0
    answer, body = answered(server, "/", "HEAD")
    assert (answer.status, body, answer.getheader("Cache-Control")) == (200, "", "no-store")
    assert answered(server, "/", "POST")[0].status == 501
    assert stored(study) == before  # nothing is written, not even a lock


def test_the_state_changes_when_a_run_ends(server: serving._Server, study: Path) -> None:
    folder = StudyFolder(study)
    run = folder.read_run("asau", 1)
    assert run is not None
    folder.run_path("asau", 1).unlink()
    page, state = asked(server, "/"), asked(server, "/state")
    assert f'data-state="{state}"' in page
    assert "asau-seed1.json" not in page
    assert (asked(server, "/"), asked(server, "/state")) == (page, state)
    time.sleep(0.02)  # as far apart as file systems tell times
    folder.write_run(run)
    assert asked(server, "/state") != state
    assert "asau-seed1.json" in asked(server, "/")


@pytest.mark.parametrize(
    "name",
    [
        *("../outside.json", "%2e%2e/outside.json", "runs/../../outside.json", "runs%2f..%2f..%2foutside.json"),
        *("runs/linked.json", "runs/", "runs", ".lock", "logs/asau-seed0.log", "/etc/passwd", "//etc/passwd"),
        *("study.json/", "study.json%00", "runs\\asau-seed0.json", "runs/asau-seed0.json.bak", "nothing.json"),
    ],
)
def test_nothing_else_is(server: serving._Server, study: Path, name: str) -> None:
    for place in (study.parent / "outside.json", study / ".lock", study / "runs" / "asau-seed0.json.bak"):
        place.write_text("secret")
    (study / "logs").mkdir()
    (study / "logs" / "asau-seed0.log").write_text("secret")
    (study / "runs" / "linked.json").symlink_to(study.parent / "outside.json")
    answer, body = answered(server, f"/{name}")
    assert answer.status == 404
    assert "secret" not in body


def test_another_sites_page_reads_nothing(server: serving._Server) -> None:
    port = server.server_port
    assert answered(server, "/", host=f"localhost:{port}")[0].status == 200
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        answer, body = answered(server, "/", host=host)
        assert answer.status == 403
        assert "asau" not in body


def test_what_cannot_be_read_is_said(server: serving._Server, study: Path) -> None:
    (study / "runs" / "asau-seed1.json").write_text("{")
    answer, body = answered(server, "/")
    assert answer.status == 503
    assert "asau-seed1.json cannot be read" in body


def test_a_command_that_cannot_serve_says_why(run: Command, study: Path, tmp_path: Path) -> None:
    with socket.create_server((serving.HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is taken; give another --port" in refusal(run, study, "--port", port)
    assert "there is no study in" in refusal(run, tmp_path)
    assert "leave out --markdown" in refusal(run, study, "--json")
    assert "2 were named" in refusal(run, study, str(study))
    (study / "runs").rename(tmp_path / "away")
    assert "stored rows" in refusal(run, study)


def refusal(run: Command, *arguments: str | Path) -> str:
    outcome = run("report", *arguments, "--serve")
    assert outcome.code == 2
    return outcome.sentence


@pytest.mark.slow
def test_ctrl_c_ends_it(study: Path, tmp_path: Path) -> None:
    process = forked_command(tmp_path / "said", "report", study, "--serve", "--port", "0")
    link = HTTPConnection(serving.HOST, port_of(tmp_path / "said" / "out"), timeout=60)
    link.request("GET", "/state")
    assert link.getresponse().status == 200
    process.interrupt()
    outcome = process.wait()
    assert outcome.code == interrupting.EXIT_INTERRUPTED
    assert outcome.err == f"limen: {interrupting.SENTENCE}\n"


def port_of(said: Path) -> int:
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/ ", said.read_text() if said.exists() else "")
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError("it did not say where it serves")
