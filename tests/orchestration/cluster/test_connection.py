"""Connections to a cluster: ways in which connecting ends, calls after it was left."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import pytest

from orchestration.cluster import connection
from orchestration.common.errors import UserError
from orchestration.common.exit_codes import EXIT_RAY_DID_NOT_START, EXIT_TERMINATED
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.config.workers import WorkersConfig
from tests.support.sweeps import python


@pytest.fixture(autouse=True)
def may_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process start a Ray of their own."""
    monkeypatch.setattr(connection, "never_start_alone", lambda: None)


LATE_CALLS = """
import threading, ray
from orchestration.cluster.connection import connection

left, errors = threading.Event(), []

def call_late(call):
    left.wait()
    try:
        call()
    except Exception as error:
        errors.append(type(error).__name__)

with connection(insecure=False, wait_seconds=60):
    board = ray.remote(dict).remote()
    calls = (lambda: ray.get(board.keys.remote()), lambda: ray.put(1), ray.get_runtime_context, ray.cluster_resources)
    threads = [threading.Thread(target=call_late, args=(call,)) for call in calls]
    [thread.start() for thread in threads]
left.set()
[thread.join() for thread in threads]
print(ray.is_initialized(), len(errors))
"""


@pytest.mark.proves(5)
def test_a_call_after_ray_was_left_fails_and_starts_no_cluster() -> None:
    done = python("-c", LATE_CALLS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "False", done.stdout + done.stderr
    assert int(done.stdout.split()[1]) >= 3


@pytest.mark.parametrize("code", [1, 15])
def test_sigterm_while_ray_starts_has_the_code_of_sigterm(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def start_here(*, insecure: bool) -> NoReturn:  # noqa: ARG001
        raise SystemExit(code)  # as Ray's own handlers do

    for name in ("RAY_ADDRESS", JOB_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(connection, "start_here", start_here)
    monkeypatch.setattr(connection.ray, "shutdown", lambda: None)
    with pytest.raises(SystemExit) as caught, connection.cluster(WorkersConfig()):
        pass
    assert caught.value.code == EXIT_TERMINATED


class _AliveAndSilent(grpc.GenericRpcHandler):
    """A control service that says that it is alive, and answers no other call."""

    def __init__(self, ended: threading.Event) -> None:
        self.ended = ended

    def service(self, details: Any) -> Any:
        def answer(_request: bytes, _context: object) -> bytes:
            if not details.method.endswith("/CheckAlive"):
                self.ended.wait(120)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def _alive_and_silent() -> Iterator[int]:
    ended = threading.Event()
    server = grpc.server(ThreadPoolExecutor(20), handlers=[_AliveAndSilent(ended)])
    port = server.add_insecure_port("0.0.0.0:0")  # Ray asks at the host's own address where 127.0.0.1 is given
    server.start()
    yield port
    ended.set()
    server.stop(None).wait()


JOIN = """
import os, sys
from orchestration.cluster import connection
from orchestration.common.errors import UserError, tell_mistakes

connection._JOIN_SECONDS, os.environ["RAY_ADDRESS"] = 3.0, sys.argv[1]
try:
    with connection.connection(insecure=True, wait_seconds=60):
        pass
except UserError as error:
    sys.exit(tell_mistakes(error))
"""


def test_a_cluster_that_lets_nobody_in_is_given_up() -> None:
    with _alive_and_silent() as port:
        done = python("-c", JOIN, f"127.0.0.1:{port}")
    assert done.returncode == EXIT_RAY_DID_NOT_START
    assert done.stderr.endswith(f"Ray at 127.0.0.1:{port}: has not let this process in within 3 s\n")


def test_a_silent_address_is_told_before_ray_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.cluster.authentication._ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)  # this process has a Ray of its own
        with pytest.raises(UserError, match="does not answer"), connection.connection(insecure=True, wait_seconds=60):
            pass


def test_sigterm_is_heard_while_a_cluster_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = threading.Event()

    def init(**_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        joined.wait(60)

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.delenv(JOB_VARIABLE, raising=False)
    monkeypatch.setattr(connection, "upload_problems", lambda _: [])
    monkeypatch.setattr(connection.ray, "init", init)
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)
    with pytest.raises(SystemExit) as caught, connection.connection(insecure=True, wait_seconds=60):
        pass
    joined.set()
    assert caught.value.code == EXIT_TERMINATED


@pytest.mark.parametrize(
    ("job", "names"),
    [
        ("", {"ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"}),
        ("{}", {"ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"}),
        ('{"runtime_env": {"env_vars": {"DNNL_DEFAULT_FPMATH_MODE": "ANY"}}}', {"ONEDNN_DEFAULT_FPMATH_MODE"}),
    ],
)
def test_workers_of_a_cluster_compute_in_fp32_and_no_variable_of_a_job_is_set_twice(
    monkeypatch: pytest.MonkeyPatch, job: str, names: set[str]
) -> None:
    given: dict[str, Any] = {}

    def init(**arguments: Any) -> None:
        given.update(arguments)
        raise RuntimeError("enough")

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setenv(JOB_VARIABLE, job)
    if not job:
        monkeypatch.delenv(JOB_VARIABLE)
    monkeypatch.setattr(connection, "upload_problems", lambda _: [])
    monkeypatch.setattr(connection.ray, "init", init)
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)
    with pytest.raises((UserError, RuntimeError), match="enough"), connection.connection(insecure=True, wait_seconds=1):
        pass
    assert given["runtime_env"]["env_vars"] == dict.fromkeys(names, "STRICT")
