"""The driver's reader of the progress board: passes on what workers wrote since the last look."""

from __future__ import annotations

from typing import Any

import ray

from orchestration.common.redaction import shown
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.running_tasks import RunningTasks
from orchestration.launch.waiting_tasks import WaitingTasks


class ProgressReader:
    """Tells display and tracker of progress, and keeps why and where tasks ended until they are collected."""

    def __init__(
        self, context: LaunchContext, running: RunningTasks, waiting: WaitingTasks, progress_board: Any
    ) -> None:
        self._context, self._running, self._waiting = context, running, waiting
        self._progress_board = progress_board
        self._reported_restarts: dict[str, int] = {}
        self.failures: dict[str, str] = {}
        """Why a task gave up, by digest."""
        self.stopped: dict[str, int] = {}
        """Step at which a training stopped as it was asked to, by digest."""

    def read(self) -> None:
        """Pass on everything since the last call."""
        display = self._context.display
        try:
            update = ray.get(self._progress_board.take_update.remote())
        except ray.exceptions.RayActorError:
            return  # the board starts again by itself; it holds nothing that is not in the store too
        trainings = {task.digest: task for task in self._running.trainings.values()}
        for digest, rows in update.rows.items():
            if digest in trainings:
                self._context.tracker.curve(trainings[digest], rows)
                display.loss(digest, rows[-1]["loss"])
        self._waiting.snapshots.published(update.snapshots)
        for digest, done in update.done.items():
            display.reached(digest, done)
        for digest, lines in update.retries.items():
            for line in lines:
                display.retried(digest, line)
        for digest, lines in update.lost.items():
            self._running.groups.retries.extend((digest, line) for line in lines)
        self.failures.update(update.failures)
        self.stopped.update(update.stopped)

    def report_retries(self) -> None:
        """Tell of retries that no worker reported, since it was killed or its whole node was lost."""
        retries, display = self._running.groups.retries, self._context.display
        while retries:
            digest, reason = retries.popleft()
            if display.restarts[digest] == self._reported_restarts.get(digest, 0):
                display.retried(digest, shown(reason, self._context.store.options))
            self._reported_restarts[digest] = display.restarts[digest]
