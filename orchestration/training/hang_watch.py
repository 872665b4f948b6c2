"""Notices that a training hangs: a step that takes far longer than its steps do is not waited for.

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
"""For the step before which no other is known, with all that is compiled or started in it."""
_SLOW_TIMES, _SLOW_SECONDS = 5.0, 1.0
_NUM_KNOWN = 100
_LOG = logging.getLogger(__name__)


class StepWatch:
    """Watches for the length of a `with` block, which begins with the first step."""

    def __init__(
        self, least_seconds: float, hung: Callable[[str], None], *, first_seconds: float = FIRST_STEP_SECONDS
    ) -> None:
        """Args: least_seconds: no step is given up before. hung: is called once, in the watching thread, with what
        happened and where every thread is. first_seconds: for the first step."""
        self._least_seconds, self._first_seconds, self._hung = least_seconds, first_seconds, hung
        self._known: deque[float] = deque(maxlen=_NUM_KNOWN)
        self._lock = threading.Lock()
        self._began: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="step-watch", daemon=True)

    def __enter__(self) -> StepWatch:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def stepped(self) -> None:
        """A step is done, and the next one begins."""
        with self._lock:
            now = time.monotonic()
            took = now - self._began if self._began is not None else 0.0
            self._tell_slow(took)
            self._known.append(took)
            self._began = now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For what has deadlines of its own, such as the storage; it is no part of the step that it ends."""
        with self._lock:
            took = time.monotonic() - self._began if self._began is not None else 0.0
            self._began = None
        try:
            yield
        finally:
            with self._lock:
                self._began = time.monotonic() - took

    def limit_seconds(self) -> float:
        """For the step that runs now."""
        with self._lock:
            known = list(self._known)
        if not known:
            return self._first_seconds
        return max(self._least_seconds, TIMES_MEDIAN * statistics.median(known))

    def _tell_slow(self, took: float) -> None:
        if took > _SLOW_SECONDS and self._known and took > _SLOW_TIMES * statistics.median(self._known):
            _LOG.warning("a step took %.1f s, %.2f s is usual", took, statistics.median(self._known))

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._least_seconds / 10)):
            began, limit = self._began, self.limit_seconds()
            passed = time.monotonic() - began if began is not None else 0.0
            if passed > limit:
                self._over.set()
                self._hung(f"a step has taken {passed:.0f} s, {limit:.0f} s is the limit: it hangs\n\n{stacks()}")


def stacks() -> str:
    """Where each thread of this process is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001  the documented way to see other threads
    )


EXIT_HUNG = 75
_TELL_SECONDS = 10.0
"""For writing down where it is: the storage may be what it hangs for."""
_OTHERS_SECONDS = 2.0
"""For the other workers, which notice at the same time, to do so too: this one's end is theirs."""


def end_hung(store: Store, board: Any, digest: str, attempt: str, rank: int, report: str) -> None:
    """Writes the report of `StepWatch` into the store, tells the driver, and ends this process."""
    place, began = stacks_file(digest, attempt, rank), time.monotonic()
    what = f"worker {rank}: {report.splitlines()[0]}; where: {store.uri(place)}"
    _LOG.error("%s", what)
    try:
        in_background("stacks", lambda: store.write(place, report.encode())).result(_TELL_SECONDS)
        board.retried.remote(digest, what)
    except Exception as error:  # noqa: BLE001  whatever it is, this process has to end
        _LOG.error("where it hangs could not be written (%s)", error)
    time.sleep(max(0.0, _OTHERS_SECONDS - (time.monotonic() - began)))
    os._exit(EXIT_HUNG)
