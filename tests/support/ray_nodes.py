"""Ray clusters of several nodes, as `ray start` makes them: token authentication, all files in a given folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestration.cluster.token_file import write_token
from tests.support.ports import free_port
from tests.support.sweeps import ROOT, Command, children_called, descendants, environment, here, signalled, wait_until

START_SECONDS = 120


@dataclass(frozen=True)
class NodePlan:
    """A node to start."""

    num_cpus: int
    address: str = "127.0.0.1"
    command: Command = here
    options: Sequence[str] = ()
    """More of `ray start`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """More of its environment."""


@dataclass(frozen=True)
class RayNode:
    """A node that runs."""

    process: subprocess.Popen[bytes]

    def kill(self, program: str) -> None:
        """SIGKILL to its raylet or gcs_server, and to nothing else: `ray start` would end all of them."""
        pid = self.pid_of(program)
        os.kill(self.process.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)

    def has(self, program: str) -> bool:
        """Return True if it runs there, as a child of `ray start`."""
        return bool(children_called(self.process.pid, program))

    def pid_of(self, program: str) -> int:
        (pid,) = children_called(self.process.pid, program)
        return pid


@dataclass(frozen=True)
class RayCluster:
    """A cluster that runs."""

    address: str
    """host:port of its head's control service."""
    environment: dict[str, str]
    """Environment of processes that join it."""
    nodes: list[RayNode]
    """The head first."""
    scratch: Path
    stack: ExitStack

    def add(self, plan: NodePlan) -> RayNode:
        """Starts another node; the first is the head."""
        number, (_, _, port) = len(self.nodes), self.address.partition(":")
        head = ["--head", f"--port={port}", "--dashboard-host=127.0.0.1", "--dashboard-port=0"]
        command = [
            *("ray", "start", "--block", *(head if number == 0 else [f"--address={self.address}"])),
            f"--node-ip-address={plan.address}",
            f"--num-cpus={plan.num_cpus}",
            "--object-store-memory=150000000",
            f"--temp-dir={self.scratch / f'node-{number}'}",
            f"--dashboard-agent-listen-port={free_port()}",
            *plan.options,
        ]
        own = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        log = self.scratch / f"node-{number}.log"
        node = self.stack.enter_context(_started(plan.command(*command), environment() | own | plan.environment, log))
        wait_until(lambda: "runtime started" in log.read_text() or node.poll() is not None, "a node", START_SECONDS)
        assert node.poll() is None, log.read_text()
        self.nodes.append(RayNode(node))
        return self.nodes[-1]


@contextmanager
def ray_cluster(scratch: Path, plans: Sequence[NodePlan], port: int | None = None) -> Iterator[RayCluster]:
    """Args: scratch: a folder with a short name: paths of sockets are limited. port: of the head; default: any that is
    free on this host."""
    token = scratch / "token"
    write_token(token)
    address = f"{plans[0].address}:{port or free_port()}"
    joining = {
        "RAY_ADDRESS": address,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    with ExitStack() as stack:
        cluster = RayCluster(address, joining, [], scratch, stack)
        for plan in plans:
            cluster.add(plan)
        yield cluster


@contextmanager
def _started(command: Sequence[str], own: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=own, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        theirs = [process.pid, *descendants(process.pid)]
        signalled(process.pid, signal.SIGCONT)
        signalled(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for pid in theirs:
            signalled(pid, signal.SIGKILL)
        process.wait()
