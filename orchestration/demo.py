"""Entry point: python -m orchestration.demo [--sweep sweeps/quickstart.yaml] [key=value ...]

Runs the quickstart as a cluster's user would: starts a Ray head of its own, submits the job to it, stops the head.
Token authentication is on. Only the head that was started here is stopped.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from orchestration.artifacts.provenance import record_source
from orchestration.cluster.own_head import free_ports, ray_head
from orchestration.cluster.start_checks import interpreter_problems, upload_problems
from orchestration.cluster.token_file import (
    LOOPBACK_VARIABLE,
    MODE_VARIABLE,
    PATH_VARIABLE,
    TOKEN_VARIABLE,
    write_token,
)
from orchestration.common.errors import UserError, tell_interruption, tell_mistakes
from orchestration.common.project import IS_CHECKOUT, ROOT, SWEEPS_FOLDER, home
from orchestration.config.storage import StorageConfig
from orchestration.config.storage_root import ROOT_VARIABLE, resolve_root
from orchestration.plan.preflight import open_store
from orchestration.startup.command_line import make_parser, parse
from orchestration.startup.program_start import end_program, prepare_program


def main(arguments: Sequence[str]) -> int:
    """Run the demo. Return the job's exit code, 2 for a mistake in the arguments, 8 if Ray did not start, or 130."""
    parser = make_parser("Run a sweep as a Ray job on a head of its own.")
    parser.add_argument("--sweep", default="sweeps/quickstart.yaml")
    parser.add_argument("--port", type=int, default=0, help="of the Ray head; default: any free one")
    parser.add_argument("--dashboard-port", type=int, default=0, help="of the jobs API; default: any free one")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parse(parser, arguments)
    try:
        return _demo(options.sweep, options.overrides, options.port, options.dashboard_port)
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:
        return tell_interruption()


def _demo(sweep: str, overrides: Sequence[str], port: int, dashboard_port: int) -> int:
    default = StorageConfig().root
    store = open_store(StorageConfig(resolve_root(default, default, os.environ, home())), writable=True)
    record_source(store)  # the job runs in a copy without .git and looks its commit up here
    uploads = upload_problems(ROOT) if IS_CHECKOUT else ()
    if problems := [*interpreter_problems(sys.executable), *uploads]:
        raise UserError(problems)
    if not IS_CHECKOUT:
        _copy_sweeps(home() / "sweeps")
    ports = free_ports(port, dashboard_port)
    program = ["orchestration/sweep.py"] if IS_CHECKOUT else ["-m", "orchestration.sweep"]
    command = ["python", *program, sweep, *overrides]
    with tempfile.TemporaryDirectory(prefix="dfm-ray-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        environment = _environment(Path(scratch), store.root, ports.jobs_address)
        print(f"Starting a Ray head (jobs API on {ports.jobs_address}, token authentication on).")
        with ray_head(ports, Path(scratch), environment):
            submit = ["ray", "job", "submit", "--working-dir", ".", "--", *command]
            print(f"$ {shlex.join(submit)}", flush=True)
            code = _copied_output(submit, _working_folder(Path(scratch)), environment)
        print("The Ray head is stopped.")
    return code


def _copy_sweeps(folder: Path) -> None:
    """Copy the shipped sweeps to a folder of the user, where they can be read and edited; one that is there stays."""
    if not folder.exists():
        shutil.copytree(SWEEPS_FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
        print(f"The shipped sweeps are copied to {folder}.")


def _working_folder(scratch: Path) -> Path:
    """Return the folder that goes with the job: the checkout, or beside an installed project the sweeps alone."""
    if IS_CHECKOUT:
        return ROOT
    folder = scratch / "job"
    shutil.copytree(home() / "sweeps", folder / "sweeps")
    return folder


def _copied_output(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command in a folder, print what it prints, and return its exit code; a lost reader does not end it."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None, "a pipe was asked for"
        for line in process.stdout:
            print(line, end="", flush=True)
    return process.returncode


def _environment(scratch: Path, root: str, jobs_address: str) -> dict[str, str]:
    """Return the environment of head and job: this Python first, a fresh token that only this user can read."""
    token = scratch / "token"
    write_token(token)
    tools = str(Path(sys.executable).parent)
    return {
        **{name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", TOKEN_VARIABLE)},
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
        MODE_VARIABLE: "token",
        PATH_VARIABLE: str(token),
        LOOPBACK_VARIABLE: "0",
        "RAY_API_SERVER_ADDRESS": jobs_address,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # the job is over: Ray would wait half a minute for nobody
        "RAY_DISABLE_IMPORT_WARNING": "1",
        ROOT_VARIABLE: root,
    }


def end_by_exit() -> None:
    """Let SIGTERM and SIGHUP end the process as an error does, by which the head is stopped; later ones are ignored."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for one in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, leave)


if __name__ == "__main__":
    if shutil.which("ray", path=str(Path(sys.executable).parent)) is None:
        sys.exit("ray is not installed beside this Python; run `make setup`")
    prepare_program()
    end_by_exit()
    end_program(main(sys.argv[1:]))
