"""The cluster commands of docs/running.md, as written, on a head of our own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import FinishedSweep
from tests.support.ports import free_port
from tests.support.sweeps import ROOT, TIMEOUT_SECONDS, TINY, environment, wait_until


@pytest.mark.slow
def test_the_documented_cluster_commands_run_a_sweep(undisturbed: FinishedSweep, tmp_path: Path) -> None:
    """On a finished root, so that only the way there is tested; ports and folders are ours instead of the defaults."""
    tools, ports = Path(sys.executable).parent, (free_port(), free_port(), free_port())
    own = environment() | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),  # in which ~/.ray/auth_token is made
        "RAY_AUTH_MODE": "token",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports[1]}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # nothing outside this machine is to reach it
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    subprocess.run([sys.executable, "-m", "orchestration.auth_token"], cwd=ROOT, env=own, check=True)
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    submit = ["ray", "job", "submit", "--working-dir", ".", "--"]
    # Ray gives the agent, which starts jobs, one port for all clusters of a machine.
    options = [f"--port={ports[0]}", f"--dashboard-port={ports[1]}", f"--dashboard-agent-listen-port={ports[2]}"]
    options += ["--num-cpus=2", "--object-store-memory=100000000"]
    with (tmp_path / "head.log").open("wb") as log:
        head = subprocess.Popen(
            ["ray", "start", "--head", "--block", *options],
            env=own | {"DFM_STORAGE_ROOT": str(undisturbed.root)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: listening(ports[1]) or head.poll() is not None, "the jobs API", seconds=120)
        done = subprocess.run(
            [*submit, "python", "orchestration/sweep.py", "sweeps/quickstart.yaml", *TINY],
            cwd=ROOT,
            env=own,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(60)
        kill_group(head.pid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything is done already; nothing is computed." in done.stdout


def listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
