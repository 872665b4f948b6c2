"""A tracker in a thread of its own, so that nothing waits for a server that is slow or away; calls keep their order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from dfm_core.training.curve import CurveRow
from orchestration.artifacts.task_record import TaskRecord
from orchestration.tasks.task import Task
from orchestration.tracking.tracker import TaskTracker


class TrackingQueue:
    """A tracker whose calls return at once."""

    def __init__(self, tracker: TaskTracker) -> None:
        self._tracker = tracker
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self._completing: set[str] = set()
        self._error: BaseException | None = None
        # A daemon: the next submission fills in from the records what a stopped driver did not log.
        threading.Thread(target=self._work, name="tracking", daemon=True).start()

    @property
    def num_lacking(self) -> int:
        return self._tracker.num_lacking

    def is_complete(self, digest: str) -> bool:
        """Return whether the tracker holds the finished task, or will when all calls are made."""
        return digest in self._completing or self._tracker.is_complete(digest)

    def describe(self, task: Task) -> None:
        self._add(lambda: self._tracker.describe(task))

    def begin(self, task: Task) -> None:
        self._add(lambda: self._tracker.begin(task))

    def curve(self, task: Task, rows: Sequence[CurveRow]) -> None:
        self._add(lambda: self._tracker.curve(task, rows))

    def complete(self, task: Task, result: TaskRecord, training: Task | None = None) -> None:
        self._completing.add(task.digest)
        self._add(lambda: self._tracker.complete(task, result, training))

    def tag(self, digest: str, tags: Mapping[str, str]) -> None:
        self._add(lambda: self._tracker.tag(digest, tags))

    def fail(self, task: Task, message: str) -> None:
        self._completing.discard(task.digest)
        self._add(lambda: self._tracker.fail(task, message))

    @property
    def num_waiting(self) -> int:
        """Number of calls that were not made yet, about."""
        return self._calls.qsize()

    def flush(self) -> None:
        """Return when all calls were made. Raises: what a call raised, which a tracker never should."""
        self._calls.join()
        if self._error is not None:
            raise self._error

    def _add(self, call: Callable[[], None]) -> None:
        if self._error is not None:
            raise self._error
        self._calls.put(call)

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            try:
                call()
            except BaseException as error:  # noqa: BLE001  our own mistake: raised at the next call
                self._error = self._error or error
            finally:
                self._calls.task_done()
