"""The answer of Ray Train's controller to errors in a training's own run: the failure policy says what is tried again.

Ray Train starts workers anew after any error of theirs, up to `FailureConfig.max_failures`. This callback, which it
calls before, ends the run at once where a restart would end the same way, and tells the driver of the others.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import ray
from ray.train import ControllerError, UserCallback, WorkerGroupError

from orchestration.control.failure_policy import failure_of
from orchestration.control.progress_board import find_progress_board

_SAME_SECONDS = 2.0
"""Calls that follow each other sooner are about one failure: its workers are polled until all have ended."""


class RunFailures(UserCallback):  # type: ignore[misc]  # ray.train is not typed
    """Judges the errors of one training's workers, in its controller's process."""

    def __init__(self, digest: str, work_queue: str, progress_board: str, max_failures: int) -> None:
        """Args: work_queue, progress_board: their names. max_failures: that Ray Train restarts after."""
        self._digest, self._work_queue, self._progress_board = digest, work_queue, progress_board
        self._restarts_left = max_failures
        self._last_call = float("-inf")

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ARG002
        """Raise an error that no restart can help, which ends the run; else tell the progress board."""
        error = WorkerGroupError("see its workers", worker_exceptions)
        failure = failure_of(error)
        if not failure.kind.is_retried or not self._has_work():
            raise ControllerError(error)  # of all errors that can end here, the one that Ray Train never tries again
        is_known, self._last_call = time.monotonic() - self._last_call < _SAME_SECONDS, time.monotonic()
        if is_known:
            return
        self._restarts_left -= failure.kind.counts
        if self._restarts_left >= 0:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):  # no board: the driver is gone, too
                find_progress_board(self._progress_board).lost.remote(self._digest, str(failure))

    def _has_work(self) -> bool:
        """Return whether new workers would find their training; else the driver starts another run."""
        try:
            ray.get_actor(self._work_queue)
        except ValueError:
            return False
        return True
