"""Processes that descend from the tests of this process, not from those that run beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import psutil

XDIST = "PYTEST_XDIST_WORKER"
"""Variable that tells apart the processes of tests which run side by side; descendants have it, too."""


def ray_processes() -> set[int]:
    """Ids of the servers of Ray that descend from this process's tests, or were there before them."""
    return {process.pid for process in own_processes() if process.name() in ("raylet", "gcs_server")}


def own_processes() -> Iterator[psutil.Process]:
    """Every process but those of the tests that run beside these, and what is about to end."""
    worker = os.environ.get(XDIST)
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(XDIST) == worker:
                yield process


def commands() -> Iterator[str]:
    """Command lines of these processes."""
    for process in own_processes():
        with suppress(psutil.NoSuchProcess):
            yield " ".join(process.cmdline())
