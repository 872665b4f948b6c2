"""The documented way to look at the runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.e2e.conftest import FinishedSweep
from tests.support.ports import free_port
from tests.support.sweeps import environment, wait_until


def test_the_documented_command_serves_the_runs(undisturbed: FinishedSweep, tmp_path: Path) -> None:
    port = free_port()
    mlflow = Path(sys.executable).parent / "mlflow"
    uri = f"sqlite:///{undisturbed.root}/mlflow.db"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(mlflow), "ui", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"],
            cwd=tmp_path,
            env=environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: answers(port) or server.poll() is not None, "the MLflow server", seconds=120)
        assert answers(port), (tmp_path / "log").read_text()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search",
        data=b'{"max_results": 10}',
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return b'"quickstart"' in response.read()
    except OSError:
        return False
