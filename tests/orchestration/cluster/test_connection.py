"""Connections to a cluster: ways in which connecting ends, calls after it was left."""

from __future__ import annotations

from typing import NoReturn

import pytest

from orchestration.cluster import connection
from orchestration.common.exit_codes import EXIT_TERMINATED
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.config.workers import WorkersConfig
from tests.support.sweeps import python

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
