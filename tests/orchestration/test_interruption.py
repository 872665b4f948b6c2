"""Ctrl-C ends every program in one line and with its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.support.sweeps import ROOT, environment, wait_until

QUICKSTART = "sweeps/quickstart.yaml"


class _Silent(BaseHTTPRequestHandler):
    """Says that somebody asks, and never answers."""

    asked: threading.Event
    ended: threading.Event

    def parse_request(self) -> bool:
        self.asked.set()
        self.ended.wait(120)
        return False


@pytest.fixture
def silent() -> Iterator[ThreadingHTTPServer]:
    _Silent.asked, _Silent.ended = threading.Event(), threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        _Silent.ended.set()
        server.shutdown()


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "orchestration.doctor", "--storage", "s3://bucket/dfm"],
        ["-m", "orchestration.demo"],
        ["orchestration/measure.py", QUICKSTART, "IMAGES"],
        ["orchestration/reproduce.py", "table1"],
        ["orchestration/sweep.py", QUICKSTART, "--status"],
        ["-m", "analysis", QUICKSTART, "--storage", "s3://bucket/dfm"],
    ],
    ids=lambda command: command[1] if command[0] == "-m" else command[0],
)
def test_ctrl_c_while_a_storage_is_asked_ends_every_program_in_one_line(
    command: Sequence[str], silent: ThreadingHTTPServer, tmp_path: Path
) -> None:
    np.savez(tmp_path / "images.npz", np.zeros((20, 32, 32, 1), np.uint8), np.arange(20) % 10)
    command = [str(tmp_path / "images.npz") if word == "IMAGES" else word for word in command]
    own = environment() | on_s3(f"http://127.0.0.1:{silent.server_port}")
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=own,
        stdout=(tmp_path / "out").open("w"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert _Silent.asked.wait(60), (tmp_path / "out").read_text()
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in told
    assert told.strip().splitlines()[-1].startswith("Interrupted.")
    assert len(told.strip().splitlines()) == 1


def on_s3(endpoint: str) -> dict[str, str]:
    """Variables of a storage root behind an S3 API."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    return {"DFM_STORAGE_ROOT": "s3://bucket/dfm", "AWS_ENDPOINT_URL": endpoint, **keys}


_SILENT_RESOLVER = """
import pathlib, socket, time

def getaddrinfo(*_, **__):
    pathlib.Path(__file__).with_name("asked").touch()
    time.sleep(300)

socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (130, ["orchestration/sweep.py", QUICKSTART, "--status"]),
        pytest.param(2, ["orchestration/sweep.py", QUICKSTART, "--status"], marks=pytest.mark.slow),
        pytest.param(2, ["-m", "orchestration.doctor", "--storage", "s3://bucket/dfm"], marks=pytest.mark.slow),
    ],
)
def test_nobody_waits_for_a_silent_name_server_after_the_end(code: int, command: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SILENT_RESOLVER)
    own = environment() | on_s3("http://nowhere.example:9000") | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=own,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        wait_until(lambda: (tmp_path / "asked").exists(), "the first question", 60)
        if code == 130:
            process.send_signal(signal.SIGINT)
        assert process.wait(120) == code
