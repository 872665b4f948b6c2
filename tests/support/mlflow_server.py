"""A real tracking server before a database, for as long as a test wants it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

_START_SECONDS = 120


@contextmanager
def mlflow_server(database_uri: str, folder: Path, artifacts: Path | None = None) -> Iterator[str]:
    """Its address, once it answers. Args: folder: for its log. artifacts: whose files it hands out."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database_uri, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--workers", "1"]
    command += ["--artifacts-destination", str(artifacts)] if artifacts else []
    with (folder / "mlflow-server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_answer(f"http://127.0.0.1:{port}/health", process, folder / "mlflow-server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "the tracking server does not answer"
            time.sleep(0.2)
