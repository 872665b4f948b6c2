"""A program's own Ray head: tried again, told with its last words, and stopped with all its processes."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestration.cluster import own_head
from orchestration.cluster.own_head import HeadPorts, free_ports, ray_head
from orchestration.cluster.start_checks import RayDidNotStartError
from orchestration.common.errors import UserError

RAY = """#!{python}
import http.server, os, socket, sys, time
from pathlib import Path
with open("{folder}/starts", "a") as starts:
    print(os.getpid(), file=starts)
num_starts = len(Path("{folder}/starts").read_text().split())
if num_starts <= {num_failures}:
    sys.exit("the agent came too late")
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        self.end_headers()
    def log_message(self, *_):
        pass
options = dict(one.split("=") for one in sys.argv if "=" in one)
agent = socket.create_server(("127.0.0.1", int(options["--dashboard-agent-listen-port"])))
server = http.server.HTTPServer(("127.0.0.1", int(options["--dashboard-port"])), Api)
server.timeout = 0.1
while not Path("{folder}/end").exists():
    server.handle_request()
sys.exit("the node is lost")
"""


@pytest.fixture
def ports() -> HeadPorts:
    return free_ports()


def environment(folder: Path, num_failures: int = 0, status: int = 401) -> dict[str, str]:
    """Return that of a `ray` that fails so many times, and then answers calls without a token with a status."""
    ray = folder / "ray"
    ray.write_text(RAY.format(python=sys.executable, folder=folder, num_failures=num_failures, status=status))
    ray.chmod(0o755)
    return {"PATH": str(folder)}


def starts(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "starts").read_text().split()]


def test_a_head_that_came_up_at_the_second_try_serves_and_ends_with_the_block(
    tmp_path: Path, ports: HeadPorts, capsys: pytest.CaptureFixture[str]
) -> None:
    with ray_head(ports, tmp_path, environment(tmp_path, num_failures=1)):
        first, second = starts(tmp_path)
        assert psutil.pid_exists(second)
    assert not psutil.pid_exists(first)
    assert not psutil.pid_exists(second)
    assert capsys.readouterr().out == "The Ray head did not come up; it is tried again.\n"


def test_a_head_that_never_comes_up_is_told_with_its_last_words(tmp_path: Path, ports: HeadPorts) -> None:
    failing = ray_head(ports, tmp_path, environment(tmp_path, num_failures=9))
    with pytest.raises(RayDidNotStartError, match="did not come up; its last words:\nthe agent came too late"), failing:
        pass
    assert len(starts(tmp_path)) == 3


def test_a_head_that_ends_by_itself_is_told_after_the_block(tmp_path: Path, ports: HeadPorts) -> None:
    def lose_the_head() -> None:
        with ray_head(ports, tmp_path, environment(tmp_path)):
            (tmp_path / "end").touch()
            (head,) = starts(tmp_path)
            deadline = time.monotonic() + 60
            while psutil.Process(head).status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    with pytest.raises(RayDidNotStartError, match="ended by itself; its last words:\nthe node is lost"):
        lose_the_head()


def test_a_head_that_answers_without_a_token_is_not_used(tmp_path: Path, ports: HeadPorts) -> None:
    open_to_all = ray_head(ports, tmp_path, environment(tmp_path, status=200))
    with pytest.raises(UserError, match="answers without a token"), open_to_all:
        pass
    (head,) = starts(tmp_path)
    assert not psutil.pid_exists(head)


def test_a_head_is_up_only_when_its_agent_listens(
    tmp_path: Path, ports: HeadPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_head, "_START_SECONDS", 3)
    monkeypatch.setattr(own_head, "_TRIES", 1)
    elsewhere = HeadPorts(ports.head, ports.dashboard, free_ports().agent)
    own = environment(tmp_path)
    script = tmp_path / "ray"
    script.write_text(script.read_text().replace('int(options["--dashboard-agent-listen-port"])', "0"))
    with pytest.raises(RayDidNotStartError), ray_head(elsewhere, tmp_path, own):
        pass


def test_every_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        taken = one.getsockname()[1], other.getsockname()[1]
        with pytest.raises(UserError) as error:
            free_ports(*taken)
    for option, port in zip(("--port", "--dashboard-port"), taken, strict=True):
        assert f"{option} {port}: cannot be used" in str(error.value)
