"""The worker processes of Ray Train that this process's cluster runs."""

from __future__ import annotations

import contextlib

import psutil


def train_processes() -> set[int]:
    """Return their ids."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.add(process.pid)
    return found
