"""Whole sweeps in processes of their own, as a user runs them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
ENTRY = ROOT / "orchestration" / "sweep.py"
SHIPPED = tuple(sorted(path for path in (ROOT / "sweeps").glob("*.yaml") if path.name != "site.yaml"))
"""All sweeps of the repository."""

_PARTS = (
    "parts={paradigm: {rows: {flow matching: {paradigm: flow_matching, decomposition: {name: identity, "
    "resolutions: [32]}, model: {patch_sizes: [4]}, sampling: {steps: [4], tau: []}}, DFM: {}}}}"
)
TINY = (
    "model.size=nano",
    "training.steps=60",
    "training.batch_size=8",
    "training.warmup_steps=3",
    "evaluation.at_steps=[20, 60]",
    "evaluation.num_samples=40",
    "workers.checkpoint_every=5",
    "workers.log_every=1",
    _PARTS,
    "compute.allow_unequal=true",  # at this size the second patchify is more than 1%
    "sampling.steps=[3, 1]",
    "workers.num_evaluators=1",  # one starts in a core's five seconds, and measures all this in two
)
"""Overrides that shrink the quickstart to two trainings of seconds; what the tasks do, and how, stays."""
TWO_EVALUATORS = "workers.num_evaluators=2"
"""Override for tests in which another evaluator has to be there, on another node or beside one that is killed."""
ONLY_DFM = "parts={paradigm: {rows: {DFM: {}}}}"
"""Override for tests that disturb a training: one is enough, and has the same digest."""
TIMEOUT_SECONDS = 420


def slow_steps(first: int, last: int) -> dict[str, str]:
    """Environment of a driver whose training takes three seconds a step there, so that it is met in the middle.

    Without it, the tiny training ends within two seconds, and whoever looks is held up for longer on a busy machine.
    """
    return {"DFM_FAULT": ",".join(f"{step % 2}:{step}:slow" for step in range(first, last))}


Command = Callable[..., list[str]]
"""Arguments -> those arguments, done on a certain host."""


def here(*arguments: str) -> list[str]:
    """`Command` of this host."""
    return list(arguments)


@dataclass(frozen=True)
class Where:
    """Place where a driver runs; by default here."""

    command: Command = here
    environment: Mapping[str, str] = field(default_factory=dict)
    """More of it."""


HERE = Where()


def environment() -> dict[str, str]:
    """Ours, less what would make a sweep look for another cluster or root."""
    dropped = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "DFM_STORAGE_ROOT", "MLFLOW_TRACKING_URI", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def python(*arguments: str, seconds: float = TIMEOUT_SECONDS) -> subprocess.CompletedProcess[str]:
    """A script of the project to its end, from the project's root."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def command(root: Path | str, *more: str) -> list[str]:
    return [sys.executable, str(ENTRY), "sweeps/quickstart.yaml", f"storage.root={root}", *TINY, *more]


def run(root: Path | str, *more: str, cwd: Path = ROOT, where: Where = HERE) -> subprocess.CompletedProcess[str]:
    """The tiny sweep to its end."""
    arguments = command(root, *more)
    arguments[2] = str(ROOT / "sweeps" / "quickstart.yaml")
    return subprocess.run(
        where.command(*arguments),
        cwd=cwd,
        env=environment() | where.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def heed_signals() -> None:
    """Handle SIGINT and SIGHUP as a process of a terminal does, also where the tests run under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def started(root: Path | str, log: Path, *more: str, where: Where = HERE) -> Iterator[subprocess.Popen[bytes]]:
    """The tiny sweep, running; nothing of it is left after the block."""
    with log.open("wb") as output:
        # A shell starts background jobs with SIGINT ignored, nohup its command with SIGHUP, and children inherit that.
        driver = subprocess.Popen(
            where.command(*command(root, *more)),
            cwd=ROOT,
            env=environment() | where.environment,
            stdout=output,
            stderr=output,
            preexec_fn=heed_signals,
        )
    try:
        yield driver
    finally:
        for process in [*descendants(driver.pid), driver.pid]:
            signalled(process, signal.SIGKILL)
        driver.wait()


def descendants(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def children_called(pid: int, program: str) -> list[int]:
    """Return matching descendants of a process, direct or not."""
    found = []
    for child in descendants(pid):
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(child).name() == program:
                found.append(child)
    return found


def signalled(pid: int, number: signal.Signals) -> None:
    """A process that is gone is let be."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def has_ended(driver: subprocess.Popen[bytes], code: int, log: Path, seconds: float = 800) -> None:
    """Waits for a driver's end, which must be with this code."""
    wait_until(lambda: driver.poll() is not None, "the driver to end", seconds=seconds)
    assert driver.returncode == code, log.read_text()


def has_checkpoints(root: Path, count: int = 2) -> None:
    """Waits for so many, of all trainings under a root."""
    wait_until(lambda: len(published_steps(root)) >= count, f"{count} checkpoints", seconds=600)


def goes_on_to_the_table_of(undisturbed: Path, root: Path, where: Where = HERE) -> None:
    """The sweep of `ONLY_DFM`, submitted again."""
    resumed = run(root, ONLY_DFM, where=where)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert numbers(root) == numbers(undisturbed, row="DFM")


def published_steps(root: Path) -> list[int]:
    """Steps of all published checkpoints of all trainings under a root."""
    return [int(path.parent.name.split("-")[1]) for path in root.glob("checkpoints/*/step-*/manifest.json")]


def numbers(root: Path, row: str | None = None) -> dict[tuple[str, str, str], str]:
    """The table: value by (row, step, metric), as text, so that equal means bitwise equal; all rows or one."""
    with (root / "reports" / "quickstart" / "table.csv").open() as file:
        lines: list[Mapping[str, str]] = list(csv.DictReader(file))
    assert lines, "the table is empty"
    chosen = [line for line in lines if row in (None, line["row"])]
    return {(line["row"], line["step"], line["metric"]): line["value"] for line in chosen}
