"""Workers that stay: a Ray Train run whose workers do one training after the other.

Starting Ray Train, its processes, torch and DeepSpeed takes longer than many a trial. A training that follows another
of the same launch begins at once on the workers that are there. After any error, and with ZeRO-3, the processes are not
used again: the same training, or the next one, gets new ones. `failures` says after which errors a training is tried
again.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Event
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from orchestration.cluster.placement_groups import free_placement_groups
from orchestration.common.background import in_background
from orchestration.config.workers import WorkersConfig
from orchestration.control.failure_policy import failure_of
from orchestration.storage.layout import TRAIN_RUNS
from orchestration.storage.retry import StorageUnavailableError
from orchestration.storage.store import Store
from orchestration.tasks.task import Task
from orchestration.training.train_request import Request
from orchestration.training.work_queue import start_work_queue
from orchestration.training.worker import train_worker

_LOG = logging.getLogger(__name__)
_POLL_SECONDS, _FREE_SECONDS = 0.1, 5.0
_LOST = "the cluster was lost"


class WorkersEndedError(Exception):
    """The workers ended in peace before their training was through, which they never should."""


class WorkerGroup:
    """One Ray Train run; starts at once."""

    def __init__(self, store: Store, workers: WorkersConfig) -> None:
        self._store, self._workers = store, workers
        self._name = uuid.uuid4().hex
        self._desk_name, self._desk = start_work_queue()
        self._run = in_background(f"workers-{self._name}", lambda: self._trainer().fit())

    def train(self, request: Request, over: Event) -> None:
        """Returns when all workers are through with it.

        Args: over: when it is set, Ray is asked nothing more. Raises: whatever ended the run; WorkersEndedError then.
        """
        serial, freed = ray.get(self._desk.put.remote(request)), time.monotonic()
        while not ray.get(self._desk.is_done.remote(serial)):
            if over.is_set():
                raise WorkersEndedError(_LOST)
            if self._run.done():
                self._run.result()
                raise WorkersEndedError("the workers ended before their training")
            if time.monotonic() - freed > _FREE_SECONDS:
                freed = time.monotonic()
                free_placement_groups()
            time.sleep(_POLL_SECONDS)

    @property
    def are_there(self) -> bool:
        return not self._run.done()

    def close(self) -> None:
        """Lets the workers go, and waits until what they held is free."""
        with contextlib.suppress(ray.exceptions.RayActorError):  # lost with its node: then the run ends by itself
            ray.get(self._desk.close.remote())
        wait([self._run])
        self.clear()

    def clear(self) -> None:
        """Removes what Ray Train left; after the run."""
        ray.kill(self._desk)
        free_placement_groups()
        with contextlib.suppress(StorageUnavailableError):  # some bytes that nobody reads; `--gc` finds them
            self._store.remove_artifact(f"{TRAIN_RUNS}/{self._name}")

    def _trainer(self) -> TorchTrainer:
        workers = self._workers
        return TorchTrainer(
            train_worker,
            train_loop_config={"desk": self._desk_name},
            torch_config=TorchConfig(backend="nccl" if workers.use_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers.num_workers,
                use_gpu=workers.use_gpu,
                resources_per_worker={"CPU": workers.cpus_per_worker, **({"GPU": 1} if workers.use_gpu else {})},
            ),
            run_config=RunConfig(
                name=self._name,
                storage_path=self._store.path(TRAIN_RUNS),
                storage_filesystem=self._store.pyarrow_filesystem(),
                # How often a training is tried is counted for each of them, by `WorkerGroupPool`.
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),
            ),
        )


class WorkerGroupPool:
    """The workers of all trainings that run at the same time."""

    def __init__(
        self,
        workers: WorkersConfig,
        request: Callable[[Task], Request],
        start: Callable[[], Any],
    ) -> None:
        """Args: request: what the workers of a training are told. start: starts `WorkerGroup`."""
        self._workers, self._request, self._start = workers, request, start
        # DeepSpeed 0.19 frees nothing of a ZeRO-3 engine: 12 trainings one after the other held the state of 12.
        self._may_stay = workers.zero_stage < 3
        self.most = sys.maxsize
        """Groups at the same time; a training that finds no room for its own waits for another's."""
        self.retries: deque[tuple[str, str]] = deque()
        """(digest, why) of trainings that are tried again; whoever tells the user takes them out."""
        self._idle: list[Any] = []
        self._over = Event()
        self._num_open = 0
        self._lock = threading.Lock()

    def submit(self, task: Task) -> Future[None]:
        """A training, on workers that are there or on new ones; done when its record is in the store, or when the
        workers stopped before, of which the board is told. It raises what ended the last of its attempts."""
        return in_background(f"train-{task.digest}", lambda: self._train(task, self._request(task)))

    def close_idle(self) -> None:
        """Frees what workers without a training hold."""
        with self._lock:
            idle, self._idle = self._idle, []
        for workers in idle:
            workers.close()
            self._gone()

    def abandon(self) -> None:
        """Without a cluster: threads that go on calling Ray when it is shut down would end the process."""
        self._over.set()
        time.sleep(3 * _POLL_SECONDS)

    def _train(self, task: Task, request: Request) -> None:
        attempts_left = self._workers.max_failures
        while True:
            workers = self._idle_or_new()
            try:
                workers.train(request, self._over)
            except Exception as error:
                if self._over.is_set():
                    raise
                workers.clear()
                self._gone()
                failure = failure_of(error)
                attempts_left -= failure.kind.counts
                if not failure.kind.is_retried or attempts_left < 0:
                    raise
                _LOG.info("training %s is tried again", task.digest, exc_info=error)
                self.retries.append((task.digest, str(failure)))
            else:
                self._keep(workers)
                return

    def _keep(self, workers: Any) -> None:
        if not self._may_stay:
            workers.close()
            self._gone()
            return
        with self._lock:
            self._idle.append(workers)

    def _started(self) -> Any:
        try:
            return self._start()
        except BaseException:
            self._gone()
            raise

    def _gone(self) -> None:
        with self._lock:
            self._num_open -= 1

    def _idle_or_new(self) -> Any:
        while True:
            if self._over.is_set():
                raise WorkersEndedError(_LOST)
            with self._lock:
                workers = self._idle.pop() if self._idle else None
                may_start = workers is None and self._num_open < self.most
                self._num_open += may_start
            if may_start:
                return self._started()
            if workers is None:  # after a node went, for one of the others
                time.sleep(_POLL_SECONDS)
            elif workers.are_there:
                return workers
            else:
                workers.clear()  # ended while they waited: a node went
                self._gone()
