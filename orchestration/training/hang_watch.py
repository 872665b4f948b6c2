"""Detection of a training that hangs: a step that takes far longer than the steps before it.

A worker that waits in a collective for one that is stuck waits for as long as the communication library does, half an
hour or for ever. Each worker watches its own steps from a thread; that of a frozen process is frozen too, but then its
neighbours wait for it and notice.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from orchestration.common.background import in_background
from orchestration.storage.layout import stacks_file
from orchestration.storage.store import Store

TIMES_MEDIAN = 10.0
FIRST_STEP_SECONDS = 1800.0
"""Limit of the first step, with all that is compiled or started in it."""
COMPILATION_SECONDS = 300.0
"""Minimum limit of a step whose blocks may be compiled anew."""
_SLOW_TIMES, _SLOW_SECONDS = 5.0, 1.0
_NUM_DURATIONS = 100
_LOG = logging.getLogger(__name__)


class StepWatch:
    """Watches the steps of a `with` block, which begins with the first step."""

    def __init__(
        self, least_seconds: float, hung: Callable[[str], None], *, first_seconds: float = FIRST_STEP_SECONDS
    ) -> None:
        """Args: least_seconds: minimum limit of a step. hung: called once, in the watching thread, with a report
        and the stacks of all threads. first_seconds: limit of the first step."""
        self._least_seconds, self._first_seconds, self._hung = least_seconds, first_seconds, hung
        self._durations: deque[float] = deque(maxlen=_NUM_DURATIONS)
        self._lock = threading.Lock()
        self._began: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="step-watch", daemon=True)

    def __enter__(self) -> StepWatch:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def stepped(self) -> None:
        """Note that a step is done and the next one begins."""
        with self._lock:
            now = time.monotonic()
            took = now - self._began if self._began is not None else 0.0
            self._warn_if_slow(took)
            self._durations.append(took)
            self._began = now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause for work with deadlines of its own, such as the storage; its time does not count."""
        with self._lock:
            took = time.monotonic() - self._began if self._began is not None else 0.0
            self._began = None
        try:
            yield
        finally:
            with self._lock:
                self._began = time.monotonic() - took

    def limit_seconds(self) -> float:
        """Return the limit of the current step."""
        with self._lock:
            durations = list(self._durations)
        if not durations:
            return self._first_seconds
        return max(self._least_seconds, TIMES_MEDIAN * statistics.median(durations))

    def _warn_if_slow(self, took: float) -> None:
        if took > _SLOW_SECONDS and self._durations and took > _SLOW_TIMES * statistics.median(self._durations):
            _LOG.warning("a step took %.1f s, %.2f s is usual", took, statistics.median(self._durations))

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._least_seconds / 10)):
            began, limit = self._began, self.limit_seconds()
            passed = time.monotonic() - began if began is not None else 0.0
            if passed > limit:
                self._ended.set()
                self._hung(f"a step has taken {passed:.0f} s, {limit:.0f} s is the limit: it hangs\n\n{stacks()}")


def stacks() -> str:
    """Return the stack of each thread of this process."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001  the documented way to see other threads
    )


EXIT_HUNG = 75
_TELL_SECONDS = 10.0
"""Limit for writing the stacks: the storage may be the reason of the hang."""
_OTHERS_SECONDS = 2.0
"""Time for the other workers, which notice at the same time, to write theirs: this one's end ends them."""


def end_hung(store: Store, progress_board: Any, digest: str, attempt: str, rank: int, report: str) -> None:
    """Write the report of `StepWatch` into the store, tell the driver, and end this process."""
    place, began = stacks_file(digest, attempt, rank), time.monotonic()
    what = f"worker {rank}: {report.splitlines()[0]}; where: {store.uri(place)}"
    _LOG.error("%s", what)
    try:
        in_background("stacks", lambda: store.write(place, report.encode())).result(_TELL_SECONDS)
        progress_board.retried.remote(digest, what)
    except Exception as error:  # noqa: BLE001  whatever it is, this process has to end
        _LOG.error("where it hangs could not be written (%s)", error)
    time.sleep(max(0.0, _OTHERS_SECONDS - (time.monotonic() - began)))
    os._exit(EXIT_HUNG)
