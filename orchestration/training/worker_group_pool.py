"""Pools of warm training workers: a training that follows another of the same launch begins at once.

Starting Ray Train, its processes, torch and DeepSpeed takes longer than many a trial. After any error, and with ZeRO-3,
the processes are not used again: the same training, or the next one, gets new ones. `failure_policy` says after which
errors a training is tried again.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from threading import Event

from orchestration.common.background import in_background
from orchestration.common.cleanup import clean_up_after
from orchestration.config.workers import WorkersConfig
from orchestration.control.failure_policy import failure_of
from orchestration.tasks.task import Task
from orchestration.training.train_request import TrainRequest
from orchestration.training.worker_group import POLL_SECONDS, RAY_IS_LEFT, WorkerGroup, WorkersEndedError

_LEAVE_SECONDS = 10.0
_LOG = logging.getLogger(__name__)


class WorkerGroupPool:
    """The worker groups of all trainings that run at the same time."""

    def __init__(
        self,
        workers: WorkersConfig,
        request: Callable[[Task], TrainRequest],
        start: Callable[[], WorkerGroup],
    ) -> None:
        """Args: request: builds the request of a training for its workers. start: starts a `WorkerGroup`."""
        self._workers, self._request, self._start = workers, request, start
        # DeepSpeed 0.19 frees nothing of a ZeRO-3 engine: 12 trainings one after the other held the state of 12.
        self._may_stay = workers.zero_stage < 3
        self.most = sys.maxsize
        """Maximum of groups at the same time; a training that finds no room for its own waits for another's."""
        self.retries: deque[tuple[str, str]] = deque()
        """(digest, reason) of trainings that are tried again; taken out when the user is told."""
        self._idle: dict[WorkerGroup, float] = {}
        """Groups without a training, and since when, on the monotonic clock."""
        self._open_groups: list[WorkerGroup] = []
        self._leaving = Event()
        self._num_open = 0
        self._lock = threading.Lock()

    @property
    def num_open(self) -> int:
        """Number of groups that hold resources: their workers have answered."""
        return sum(group.has_begun for group in list(self._open_groups))

    @property
    def num_idle(self) -> int:
        """Number of groups among them without a training."""
        return len(self._idle)

    def submit(self, task: Task) -> Future[None]:
        """Start a training on an idle group or a new one.

        The future is done when its record is in the store, or when the workers stopped before, of which the progress
        board is told; it raises the error of the last attempt.
        """
        return in_background(f"train-{task.digest}", lambda: self._train(task, self._request(task)))

    def close_idle(self, for_seconds: float = 0.0) -> None:
        """Free the resources of groups that had no training for so long."""
        now = time.monotonic()
        with self._lock:
            idle = [group for group, since in self._idle.items() if now - since >= for_seconds]
            for group in idle:
                del self._idle[group]
        for group in idle:
            group.close()
            self._gone(group)

    def leave(self, trainings: Collection[Future[None]], *, cluster_is_lost: bool) -> None:
        """End trainings and all groups, with their threads, before Ray is left: calls during its shutdown would end the
        process. Args: cluster_is_lost: nobody is there who could be told."""
        self._leaving.set()
        wait(trainings, _LEAVE_SECONDS)
        for group in () if cluster_is_lost else list(self._open_groups):
            group.abandon()

    def _train(self, task: Task, request: TrainRequest) -> None:
        attempts_left = self._workers.max_failures
        while True:
            group = self._idle_or_new()
            try:
                group.train(request, self._leaving)
            except Exception as error:
                if self._leaving.is_set():
                    raise
                clean_up_after(error, group.clear)
                self._gone(group)
                failure = failure_of(error)
                attempts_left -= failure.kind.counts
                if not failure.kind.is_retried or attempts_left < 0:
                    raise
                _LOG.info("training %s is tried again", task.digest, exc_info=error)
                self.retries.append((task.digest, str(failure)))
            else:
                self._keep(group)
                return

    def _keep(self, group: WorkerGroup) -> None:
        if not self._may_stay:
            group.close()
            self._gone(group)
            return
        with self._lock:
            self._idle[group] = time.monotonic()

    def _started(self) -> WorkerGroup:
        try:
            group = self._start()
        except BaseException:
            self._gone()
            raise
        self._open_groups.append(group)
        return group

    def _gone(self, group: WorkerGroup | None = None) -> None:
        """Note that a group has ended; None: that it did not start."""
        with self._lock:
            self._num_open -= 1
            if group is not None:
                self._open_groups.remove(group)

    def _idle_or_new(self) -> WorkerGroup:
        while True:
            if self._leaving.is_set():
                raise WorkersEndedError(RAY_IS_LEFT)
            with self._lock:
                group = self._idle.popitem()[0] if self._idle else None
                may_start = group is None and self._num_open < self.most
                self._num_open += may_start
            if may_start:
                return self._started()
            if group is None:  # after a node went, for one of the others
                time.sleep(POLL_SECONDS)
            elif group.is_alive:
                return group
            else:
                group.clear()  # ended while it was idle: a node went
                self._gone(group)
