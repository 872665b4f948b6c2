"""A clock that a test sets: what a machine is busy with, or for how long it stops a process, changes no outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_MOST_SECONDS = 60.0


class Clock:
    """Stands for the module `time` in one module of ours; its time passes only by `now` and by sleeping."""

    strftime = staticmethod(time.strftime)

    def __init__(self) -> None:
        self.now = 1000.0
        self.looks: list[str] = []
        """Names of the threads that asked for the time, in order."""

    def monotonic(self) -> float:
        self.looks.append(threading.current_thread().name)
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does soon."""
    deadline = time.monotonic() + _MOST_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited for {_MOST_SECONDS:g} s"
        time.sleep(0.005)
