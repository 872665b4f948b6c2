"""Debian's Slurm on this machine: munged, slurmctld and a slurmd for each node, on loopback, in a folder of its own."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
_SBIN = "/usr/sbin"
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Slurm:
    """A running Slurm."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, cwd: Path | None = None, **variables: str) -> str:
        """Return what a command prints. Raises: AssertionError with its errors if it fails."""
        environment = {**self.environment, **variables}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}{self.logs()}"
        return done.stdout.strip()

    def fields(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.partition("=")[::2] for word in words)

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        return "".join(f"\n{path.name}:\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log")))


def missing_programs() -> list[str]:
    """Return the programs of Slurm that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


@contextmanager
def running_slurm(folder: Path, nodes: Sequence[str], cpus: int) -> Iterator[Slurm]:
    """Run Slurm for a `with` block; its user is this one. Args: nodes: names of this machine that resolve to it."""
    ports = [free_port() for _ in range(len(nodes) + 1)]
    configuration = _configuration(folder, nodes, cpus, ports)
    (folder / "slurm.conf").write_text(configuration)
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o400)
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
    slurm = Slurm(folder, environment)
    munged = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"]
    munged += [
        f"--log-file={folder}/munged.log",
        f"--pid-file={folder}/munged.pid",
        f"--seed-file={folder}/munged.seed",
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in (munged, ["slurmctld", "-D", "-i"], *(["slurmd", "-D", "-N", node] for node in nodes)):
            with (folder / f"{command[0]}-{len(started)}.out").open("wb") as output:
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            if command is munged:
                _await((folder / "munge.socket").exists, slurm)
        _await(lambda: _idle(slurm) == len(nodes), slurm)
        yield slurm
    finally:
        _end_jobs(slurm)
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def _end_jobs(slurm: Slurm) -> None:
    """End all jobs, whose processes would outlive the daemons."""

    def told(*command: str) -> bytes:
        return subprocess.run(command, env=slurm.environment, capture_output=True, check=False).stdout.strip()

    told("scancel", f"--user={getpass.getuser()}")
    deadline = time.monotonic() + _START_SECONDS
    while told("squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.5)


def _configuration(folder: Path, nodes: Sequence[str], cpus: int, ports: Sequence[int]) -> str:
    host = socket.gethostname()
    lines = [
        "ClusterName=loopback",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={ports[0]}",
        f"SlurmUser={getpass.getuser()}",
        f"SlurmdUser={getpass.getuser()}",
        f"AuthInfo=socket={folder}/munge.socket",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool-%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd-%n.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdLogFile={folder}/slurmd-%n.log",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "SelectType=select/cons_tres",
        "SchedulerParameters=requeue_setup_env_fail",
        "MpiDefault=none",
        "ReturnToService=2",
        "KillWait=5",
        *(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus}"
            for node, port in zip(nodes, ports[1:], strict=True)
        ),
        f"PartitionName=main Nodes={','.join(nodes)} Default=YES MaxTime=INFINITE State=UP",
    ]
    (folder / "state").mkdir()
    return "\n".join([*lines, ""])


def _idle(slurm: Slurm) -> int:
    told = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%t"], env=slurm.environment, capture_output=True, check=False
    )
    return told.stdout.split().count(b"idle")


def _await(is_so: object, slurm: Slurm) -> None:
    assert callable(is_so)
    deadline = time.monotonic() + _START_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"Slurm has not started within {_START_SECONDS:g} s{slurm.logs()}"
        time.sleep(0.2)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{_SBIN}"
