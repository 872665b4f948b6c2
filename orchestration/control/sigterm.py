"""SIGTERM, as schedulers and `ray job stop` send it: the first asks to end at checkpoints, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from orchestration.common.exit_codes import EXIT_TERMINATED
from orchestration.control.outcome import EarlyExit


@contextmanager
def termination() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether the process was asked to end, for the length of a `with` block.

    A second signal raises SystemExit with the same code. Outside the main thread Python handles no signals, and
    the function returns False.
    """
    asked = threading.Event()

    def take(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if asked.is_set():
            raise SystemExit(EXIT_TERMINATED)
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, take)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def terminated() -> EarlyExit:
    return EarlyExit(EXIT_TERMINATED, "its process was told to end (SIGTERM)", "the same command goes on from here")
