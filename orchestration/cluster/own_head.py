"""A Ray head of a program's own, with the jobs API and token authentication, for the length of a `with` block.

Its processes form a group of their own, which ends with it; no other Ray on the machine is touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.cluster.start_checks import RayDidNotStartError
from orchestration.common.errors import Problem, UserError

LOOPBACK = "127.0.0.1"
_TRIES = 3
_START_SECONDS = 120
_STOP_SECONDS = 30
_OBJECT_STORE_BYTES = 500_000_000
_LAST_LINES = 15


@dataclass(frozen=True)
class HeadPorts:
    """Ports of the head on this machine."""

    head: int
    dashboard: int
    """Port of the dashboard, with the jobs API."""
    agent: int
    """Port of the agent, which starts jobs; Ray's default is that of any other Ray on this machine."""

    @property
    def jobs_address(self) -> str:
        return f"http://{LOOPBACK}:{self.dashboard}"


def free_ports(head: int = 0, dashboard: int = 0) -> HeadPorts:
    """Return the wanted ports, any free one where 0 is wanted.

    Raises: UserError naming every port that is taken.
    """
    chosen, problems = [], []
    with contextlib.ExitStack() as stack:
        for name, port in {"--port": head, "--dashboard-port": dashboard, "": 0}.items():
            listener = stack.enter_context(socket.socket())
            try:
                listener.bind((LOOPBACK, port))
            except (OSError, OverflowError) as error:
                problems.append(Problem(f"{name} {port}", f"cannot be used ({error}); leave it out for any free port"))
                continue
            chosen.append(listener.getsockname()[1])
    if problems:
        raise UserError(problems)
    return HeadPorts(*chosen)


@contextlib.contextmanager
def ray_head(ports: HeadPorts, scratch: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a Ray head for the length of a `with` block.

    A busy machine can keep Ray's own deadlines of 15 and 30 s from being met: then it is tried again.

    Args: scratch: a folder for its files, with a short path. environment: of its processes, with the token.
    Raises: RayDidNotStartError after some tries, or if the head ended by itself; UserError as `wait_for_head`.
    """
    for tries_left in reversed(range(_TRIES)):
        log = scratch / f"head-{tries_left}.log"
        head = _start(ports, scratch / f"ray-{tries_left}", log, environment)
        try:
            wait_for_head(head, ports, log)
        except BaseException as error:  # a signal's as well
            _stop(head)
            if not (tries_left and isinstance(error, RayDidNotStartError)):
                raise
            print("The Ray head did not come up; it is tried again.", flush=True)
        else:
            break
    try:
        yield
        if head.poll() is not None:
            raise RayDidNotStartError.of("ray start", f"the head ended by itself; its last words:\n{_tail(log)}")
    finally:
        _stop(head)


def wait_for_head(head: subprocess.Popen[bytes], ports: HeadPorts, log: Path) -> None:
    """Return when the jobs API answers, which must refuse calls without the token, and the agent listens.

    Raises: RayDidNotStartError if the head does not come up; UserError if it takes calls without a token.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and head.poll() is None:
        if _refuses_strangers(ports.jobs_address) and _listens(ports.agent):
            return
        time.sleep(0.3)
    raise RayDidNotStartError.of("ray start", f"the head did not come up; its last words:\n{_tail(log)}")


def _start(ports: HeadPorts, folder: Path, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [
        "ray", "start", "--head", "--block", f"--port={ports.head}", f"--dashboard-host={LOOPBACK}",
        f"--dashboard-port={ports.dashboard}", f"--dashboard-agent-listen-port={ports.agent}",
        f"--temp-dir={folder}", f"--object-store-memory={_OBJECT_STORE_BYTES}",
        *(["--num-cpus=2"] if os.cpu_count() == 1 else []),
    ]  # fmt: skip
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _refuses_strangers(address: str) -> bool:
    """Return whether the jobs API answers, and refuses a call without a token. Raises: UserError if it takes it."""
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=2):  # noqa: S310  our own address
            raise UserError.of("ray", "the head answers without a token; it is not used")
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        caller.settimeout(2)
        return caller.connect_ex((LOOPBACK, port)) == 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])


def _stop(head: subprocess.Popen[bytes]) -> None:
    """End the head and all its processes, gently first."""
    if head.poll() is None:
        head.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    head.wait()
