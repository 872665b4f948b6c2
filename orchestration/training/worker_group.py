"""One Ray Train run whose workers fetch their trainings from a work queue: one that has the run to itself, which then
bears its name, or short ones, one after the other."""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid
from concurrent.futures import wait
from dataclasses import replace
from threading import Event
from typing import Any

import ray
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from orchestration.cluster.address import is_on_loopback, through_client
from orchestration.cluster.loopback_config import LoopbackConfig
from orchestration.cluster.placement_groups import free_placement_groups
from orchestration.common.background import in_background
from orchestration.common.redaction import reason_of
from orchestration.config.workers import WorkersConfig
from orchestration.control.work_queue import start_work_queue
from orchestration.private.ray import kill_train_controllers
from orchestration.storage.layout import TRAIN_RUNS
from orchestration.storage.store import Store
from orchestration.tasks.task import Task
from orchestration.training.run_failures import RunFailures
from orchestration.training.train_request import TrainRequest
from orchestration.training.worker import train_worker

_LOG = logging.getLogger(__name__)
POLL_SECONDS, _FREE_SECONDS, _ABANDON_SECONDS = 0.1, 5.0, 10.0
_MAX_TITLE = 80
RAY_IS_LEFT = "the launch ends, and Ray is left"


class WorkersEndedError(Exception):
    """Workers ended without an error before their training was complete, which they never should."""


class WorkerGroup:
    """One Ray Train run, which starts at once."""

    def __init__(self, store: Store, workers: WorkersConfig, only: TrainRequest | None = None) -> None:
        """Args: only: the one training that it is for; None: trainings that follow each other."""
        self._store, self._workers, self._only = store, workers, only
        self._name = f"short-trainings-{uuid.uuid4().hex[:8]}" if only is None else run_name(only.task)
        # Not the name: Ray Train would go on in the directory of a run that was killed.
        self._directory = f"{TRAIN_RUNS}/{uuid.uuid4().hex}"
        self._queue_name, self._queue = start_work_queue()
        self._asked = self._queue.asked.remote()
        self._has_begun = False
        self._run = in_background(f"workers-{self._name}", lambda: self._trainer().fit())

    def train(self, request: TrainRequest, leaving: Event) -> None:
        """Give the workers a training, and return when all of them have completed it.

        Args: leaving: once set, no more calls of Ray are made.
        Raises: whatever ended the run; RayActorError if the queue is lost; WorkersEndedError if the run ended without
            an error, or Ray is left. The workers have ended then, or end with Ray.
        """
        if self._only is not None:
            request = replace(request, run_directory=f"{self._directory}/{self._name}")
        try:
            serial, freed = self._put(request, leaving), time.monotonic()
            done = self._queue.done.remote(serial)
            while not _is_there(done, leaving):
                if self._run.done():
                    self._run.result()
                    raise WorkersEndedError("the workers ended before their training")
                if time.monotonic() - freed > _FREE_SECONDS:
                    freed = time.monotonic()
                    free_placement_groups()
            ray.get(done)
        except ray.exceptions.RayActorError:
            self._await_end(leaving)
            raise

    @property
    def has_begun(self) -> bool:
        """True once a worker has asked for a training: from then on at the latest it holds resources."""
        self._has_begun = self._has_begun or bool(ray.wait([self._asked], timeout=0)[0])
        return self._has_begun

    @property
    def is_alive(self) -> bool:
        return not self._run.done()

    def close(self) -> None:
        """End the workers, and wait until their resources are free."""
        with contextlib.suppress(ray.exceptions.RayActorError):  # lost with its node: then the run ends by itself
            ray.get(self._queue.close.remote())
        wait([self._run])
        self.clear()

    def abandon(self) -> None:
        """End the run and its thread, whatever the workers do: Ray is left next."""
        deadline = time.monotonic() + _ABANDON_SECONDS
        while self.is_alive and time.monotonic() < deadline and not through_client():
            kill_train_controllers(ray.get_runtime_context().get_job_id())
            wait([self._run], POLL_SECONDS)

    def clear(self) -> None:
        """Remove what Ray Train left behind; after the run."""
        ray.kill(self._queue)
        free_placement_groups()
        try:
            self._store.remove_artifact(self._directory)
        except Exception as error:  # noqa: BLE001  any storage: some bytes that nobody reads stay, and no result is lost
            _LOG.warning("%s stays for --gc: %s", self._store.uri(TRAIN_RUNS), reason_of(error, self._store.options))

    def _put(self, request: TrainRequest, leaving: Event) -> int:
        answer = self._queue.put.remote(request)
        while not _is_there(answer, leaving):
            pass
        return int(ray.get(answer))

    def _await_end(self, leaving: Event) -> None:
        """Return when the run has ended, whose queue is lost: its workers notice at the end of their training. Beside
        them another attempt would write the same checkpoints, and theirs are none the worse."""
        while self.is_alive:
            if leaving.is_set():
                raise WorkersEndedError(RAY_IS_LEFT)
            wait([self._run], POLL_SECONDS)

    def _trainer(self) -> TorchTrainer:
        workers = self._workers
        config = LoopbackConfig if is_on_loopback() else TorchConfig
        return TorchTrainer(
            train_worker,
            train_loop_config={"work_queue": self._queue_name, **self._about()},
            torch_config=config(backend="nccl" if workers.use_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers.num_workers,
                use_gpu=workers.use_gpu,
                resources_per_worker={"CPU": workers.cpus_per_worker, **({"GPU": 1} if workers.use_gpu else {})},
            ),
            run_config=RunConfig(
                name=self._name,
                storage_path=self._store.path(self._directory),
                storage_filesystem=self._store.pyarrow_filesystem(),
                checkpoint_config=CheckpointConfig(num_to_keep=workers.keep_checkpoints),
                **self._failures(),
            ),
        )

    def _about(self) -> dict[str, Any]:
        """Return what the dashboard shows of the training."""
        if self._only is None:
            return {}
        task = self._only.task
        return {"title": task.title, "digest": task.digest, "until_step": task.until_step}

    def _failures(self) -> dict[str, Any]:
        """Return the arguments of a run that say what it does about failures.

        Workers are replaced within a training's own run. `WorkerGroupPool` counts the tries of each of several.
        """
        if self._only is None:
            none = FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0)
            return {"failure_config": none}
        most = self._workers.max_failures
        judge = RunFailures(self._only.task.digest, self._queue_name, self._only.progress_board, most)
        # The pool starts another run where this one's controller was lost, or never got workers.
        failures = FailureConfig(max_failures=most, controller_failure_limit=0, max_preemption_failures=-1)
        return {"failure_config": failures, "callbacks": [judge]}


def run_name(task: Task) -> str:
    """Return the name of a training's own run: its title, as a file name, and the begin of its digest."""
    return f"{re.sub(r'[^A-Za-z0-9._=+-]+', '-', task.title)[:_MAX_TITLE]}-{task.digest[:8]}"


def _is_there(answer: Any, leaving: Event) -> bool:
    """Return whether an answer has come, after a moment at most. Raises: WorkersEndedError once `leaving` is set."""
    if leaving.is_set():
        raise WorkersEndedError(RAY_IS_LEFT)
    return bool(ray.wait([answer], timeout=POLL_SECONDS)[0])
