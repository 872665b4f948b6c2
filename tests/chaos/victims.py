"""Who can be killed: kinds of processes by their command lines, and the parts of a driver's life."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.support.sweeps import descendants

AT_START, DRIVER, AT_END = "driver in its first 15 s", "driver", "driver at its end"
DRIVERS = (AT_START, DRIVER, AT_END)
COMMANDS: Mapping[str, str] = {
    "training worker": "RayTrainWorker",
    "evaluator": "Evaluator",
    "Ray Train controller": "TrainController",
    "progress board": "_ProgressBoard",
    "work queue": "_WorkQueue",
    "trial of Ray Tune": "ImplicitFunc",
    "rung desk": "_RungDesk",
    "raylet": "raylet/raylet",
    "head (gcs_server)": "gcs_server",
    "anyone": "",
}
"""Part of the command line of each kind."""
KINDS = (*DRIVERS, *COMMANDS)
_START_SECONDS = 15.0
"""A driver imports for some seconds, and then makes databases, lease and heartbeat, all of them in steps."""
_AT_THE_END = "This run held"
"""Words of a driver before the report."""


def draw_victim(
    driver: int, age: float, log: Path, killed: Mapping[str, int], draw: random.Random
) -> tuple[str, int] | None:
    """Return (kind, pid) of the kind that is there and was killed least often; None if the driver has ended.

    Args: age: of the driver, seconds. killed: how often each kind was, so far.
    """
    there: dict[str, list[int]] = {}
    commands = {pid: command_of(pid) for pid in descendants(driver)}
    for kind, part in COMMANDS.items():
        found = sorted(pid for pid, command in commands.items() if part in command)
        if found:
            there[kind] = found
    part_of_life = AT_END if _AT_THE_END in log.read_text() else AT_START if age < _START_SECONDS else DRIVER
    there[part_of_life] = [driver]
    least = min(killed[kind] for kind in there)
    kind = draw.choice([kind for kind in there if killed[kind] == least])
    return kind, draw.choice(there[kind])


def kill(pid: int) -> bool:
    """Return False if it was gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def command_of(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def is_rays(pid: int) -> bool:
    """Return whether it still runs; a number that came round to somebody else's process is left alone."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "ray" in " ".join(process.cmdline())
    except psutil.Error:
        return False
