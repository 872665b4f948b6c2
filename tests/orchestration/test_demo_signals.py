"""A demo that is told to end stops the head that it started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.sweeps import ROOT, heed_signals

DEMO = """
import sys, time
from pathlib import Path
from orchestration import demo
from orchestration.cluster import own_head

def wait_for_job(*_):
    print("up", flush=True)
    time.sleep(60)

demo._environment = lambda *_: {"PATH": sys.argv[1], "RAY_API_SERVER_ADDRESS": ""}
own_head.wait_for_head = lambda *_: None
demo._copied_output = wait_for_job
demo.end_by_exit()
sys.exit(demo.main([f"storage.root={sys.argv[1]}/runs"]))
"""
RAY = "#!/bin/sh\necho $$ > {pid}\nexec /bin/sleep 60\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_told_to_end_stops_its_head_however_often_it_is_told(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFM_STORAGE_ROOT", str(tmp_path / "runs"))
    ray, pid = tmp_path / "ray", tmp_path / "pid"
    ray.write_text(RAY.format(pid=pid))
    ray.chmod(0o755)
    command = [sys.executable, "-c", DEMO, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, preexec_fn=heed_signals) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != b"up":
            assert process.poll() is None
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        head = int(pid.read_text())
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert not psutil.pid_exists(head)
