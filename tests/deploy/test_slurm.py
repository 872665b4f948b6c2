"""The script for Slurm: sound for the shell, and submitted to a real Slurm on loopback."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestration.storage.store import MANIFEST
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.ports import free_port
from tests.support.slurm import Slurm, missing_programs, running_slurm
from tests.support.tools import tool

SCRIPT = ROOT / "deploy" / "slurm" / "sweep.sh"
OPTIONS = [
    "parts={p: {rows: {DFM: {}}}}",
    "model.size=nano",
    "training.steps=200",
    "training.batch_size=8",
    "evaluation.at_steps=[200]",
    "evaluation.metrics=[fd_lite0_block10]",
    "evaluation.num_samples=40",
    "workers.checkpoint_every=10",
    "workers.num_workers=1",
]
_LIMIT_SECONDS = 400.0


def test_the_script_is_sound_for_the_shell() -> None:
    done = subprocess.run([tool("shellcheck"), SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_script_asks_for_a_warning_before_its_end_and_for_another_turn() -> None:
    asked = set(re.findall(r"(?m)^#SBATCH (\S+)$", SCRIPT.read_text()))
    assert {"--signal=B:TERM@600", "--requeue", "--exclusive", "--open-mode=append"} <= asked


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    missing = missing_programs()
    assert not missing, f"{', '.join(missing)}: `make test-slow` installs Debian's slurmctld, slurmd and munge"
    folder = tmp_path / "slurm"
    folder.mkdir()
    with running_slurm(folder, [socket.gethostname(), "localhost"], cpus=2) as slurm:
        yield slurm


def await_state(slurm: Slurm, job: str, log: Path, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while not is_so():
        told = f"{slurm.fields(job)}\n{log.read_text() if log.exists() else 'no log'}{slurm.logs()}"
        assert time.monotonic() < deadline, told
        time.sleep(0.5)


@pytest.mark.proves(5)
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_job_on_two_nodes_told_to_end_is_queued_again_and_goes_on(slurm: Slurm, tmp_path: Path) -> None:
    root, log = tmp_path / "runs", tmp_path / "job.log"
    (tmp_path / "home").mkdir()
    given = {
        "HOME": str(tmp_path / "home"),
        "DFM_VENV": sys.prefix,
        "DFM_STORAGE_ROOT": str(root),
        "DFM_RAY_PORT": str(free_port()),
    }
    sbatch = ["sbatch", "--parsable", "--nodes=2", "--gpus-per-node=0", "--cpus-per-task=2", "--time=60"]
    job = slurm.run(*sbatch, f"--output={log}", str(SCRIPT), str(QUICKSTART), *OPTIONS, cwd=ROOT, **given)
    await_state(slurm, job, log, lambda: any(root.glob(f"checkpoints/*/step-*/{MANIFEST}")))
    assert "2 nodes have joined Ray" in log.read_text()
    slurm.run("scancel", "--batch", "--signal=TERM", job)  # what --signal does before the time limit
    await_state(slurm, job, log, lambda: slurm.fields(job)["Restarts"] == "1")
    first = log.read_text()
    assert "Told to end: the job goes back into the queue" in first
    await_state(slurm, job, log, lambda: slurm.fields(job)["JobState"] in ("PENDING", "RUNNING"))
    if slurm.fields(job)["JobState"] == "PENDING":  # Slurm lets a job that was queued again wait for two minutes
        slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    await_state(slurm, job, log, lambda: slurm.fields(job)["JobState"] in ("COMPLETED", "FAILED"))
    assert (slurm.fields(job)["JobState"], slurm.fields(job)["ExitCode"]) == ("COMPLETED", "0:0"), log.read_text()
    second = log.read_text()[len(first) :]
    assert re.search(r"continues at step [1-9]\d*", second), second
    assert (root / "reports" / "quickstart" / "table.md").is_file()
