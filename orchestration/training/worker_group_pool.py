"""The Ray Train runs of all trainings: each has one of its own, but for short trainings, which share warm workers.

Starting Ray Train, its processes, torch and DeepSpeed takes longer than many a trial. After any error, and with ZeRO-3,
the processes are not used again: the same training, or the next one, gets new ones. `failure_policy` says after which
errors a training is tried again: in a run of its own Ray Train does it, see `run_failures`.
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

from ray.train import WorkerGroupError

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
        start: Callable[[TrainRequest | None], WorkerGroup],
        is_short: Callable[[Task], bool],
    ) -> None:
        """Args: request: builds the request of a training for its workers. start: starts a `WorkerGroup` for one
        training alone, or None. is_short: tells whether a training may share workers."""
        self._workers, self._request, self._start, self._is_short = workers, request, start, is_short
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
        is_short = self._may_stay and self._is_short(task)
        while True:
            group = self._group(request, is_short=is_short)
            try:
                group.train(request, self._leaving)
            except Exception as error:
                if self._leaving.is_set():
                    raise
                clean_up_after(error, group.clear)
                self._gone(group)
                failure = failure_of(error)
                attempts_left -= failure.kind.counts
                is_tried_out = not is_short and isinstance(error, WorkerGroupError)
                if is_tried_out or not failure.kind.is_retried or attempts_left < 0:
                    raise
                _LOG.info("training %s is tried again", task.digest, exc_info=error)
                self.retries.append((task.digest, str(failure)))
                continue
            if is_short:
                with self._lock:
                    self._idle[group] = time.monotonic()
            else:
                group.close()
                self._gone(group)
            return

    def _started(self, only: TrainRequest | None) -> WorkerGroup:
        try:
            group = self._start(only)
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

    def _group(self, request: TrainRequest, *, is_short: bool) -> WorkerGroup:
        """Return workers for a training: idle ones if it is short, else new ones, for which idle ones make room."""
        while True:
            if self._leaving.is_set():
                raise WorkersEndedError(RAY_IS_LEFT)
            with self._lock:
                has_room = self._num_open < self.most
                idle = self._idle.popitem()[0] if self._idle and (is_short or not has_room) else None
                may_start = idle is None and has_room
                self._num_open += may_start
            if may_start:
                return self._started(None if is_short else request)
            if idle is None:  # after a node went, for one of the others
                time.sleep(POLL_SECONDS)
            elif is_short and idle.is_alive:
                return idle
            else:
                idle.close()  # makes room, or ended while it was idle: a node went
                self._gone(idle)
