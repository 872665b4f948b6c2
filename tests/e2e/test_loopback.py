"""Processes of a sweep or the doctor on this machine listen on loopback alone, trainings and their rendezvous too."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.sweeps import ONLY_DFM, ROOT, TIMEOUT_SECONDS, descendants, environment, started

_LOOK_SECONDS = 0.5


def heard_while_running(process: subprocess.Popen[bytes]) -> dict[str, set[str]]:
    """Addresses at which each kind of descendant listened at any time, by its name, until the process has ended."""
    heard: dict[str, set[str]] = {}
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while process.poll() is None:
        assert time.monotonic() < deadline, "it does not end"
        for pid in [process.pid, *descendants(process.pid)]:
            with suppress(psutil.Error):
                one = psutil.Process(pid)
                sockets = [c.laddr.ip for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN]
                if sockets:
                    title = " ".join(one.cmdline())[:30]
                    heard.setdefault(title, set()).update(ip.removeprefix("::ffff:") for ip in sockets)
        time.sleep(_LOOK_SECONDS)
    return heard


@pytest.mark.slow
def test_no_process_of_a_sweep_listens_on_another_interface(tmp_path: Path) -> None:
    log = tmp_path / "log"
    small = (ONLY_DFM, "training.steps=40", "evaluation={at_steps: [40], num_samples: 20}")
    with started(tmp_path / "runs", log, *small) as driver:
        heard = heard_while_running(driver)
        assert driver.returncode == 0, log.read_text()
    assert any("RayTrainWorker" in title for title in heard), heard  # its rendezvous was seen
    assert set().union(*heard.values()) == {"127.0.0.1"}, heard


@pytest.mark.slow
def test_no_process_of_the_doctor_listens_on_another_interface(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "orchestration.doctor", "--storage", str(tmp_path / "runs"), "--megabytes=256"]
    with log.open("wb") as output:
        doctor = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=output, stderr=output)
        try:
            heard = heard_while_running(doctor)
        finally:
            doctor.kill()
            doctor.wait()
    assert doctor.returncode == 0, log.read_text()
    assert any("Worker.all_reduce" in title for title in heard), heard
    assert set().union(*heard.values()) == {"127.0.0.1"}, heard
