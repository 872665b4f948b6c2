"""A pool of warm evaluators, and how reference and evaluate tasks are cut into pieces for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray

from dfm_core.config import as_plain
from dfm_core.data.catalog import DATASETS
from orchestration.evaluator import Evaluator
from orchestration.runtime import WorkersConfig
from orchestration.storage import Store
from orchestration.tasks import Task

GROUP_IMAGES = 250
"""Images of one piece of work. Fixed: it decides the order in which moments are added, and so their last bits."""


@dataclass
class _Job:
    """A task on the pool: its groups, then the call that merges them."""

    task: Task
    started: float
    groups: list[Any] = field(default_factory=list)
    num_train_groups: int = 0
    last: Any = None


class EvaluationPool:
    """`num_evaluators` actors that stay; tasks go to them group by group, in turn."""

    def __init__(self, store: Store, workers: WorkersConfig, num_evaluators: int, board: str) -> None:
        actor = ray.remote(Evaluator).options(
            num_cpus=workers.cpus_per_worker,
            num_gpus=workers.gpus_per_evaluator,
            max_restarts=workers.max_failures,
            max_task_retries=workers.max_failures,
        )
        self._actors = [
            actor.remote(
                store.root,
                store.options,
                board,
                workers.cpus_per_worker,
                workers.evaluation_batch_size,
                workers.gpus_per_evaluator > 0,
            )
            for _ in range(num_evaluators)
        ]
        self._next = 0
        self._jobs: dict[str, _Job] = {}

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    @property
    def wants_work(self) -> bool:
        """Whether another task would keep an evaluator from idling."""
        return len(self._jobs) < 2

    def submit(self, task: Task) -> None:
        """Starts a reference, pyramid or evaluate task."""
        job = _Job(task, time.monotonic())
        if task.kind == "reference":
            card = DATASETS[task.config.data.dataset]
            for split, count in (("train", card.num_train_images), ("reference", card.num_reference_images)):
                for begin, end in _groups(count):
                    dataset = task.config.data.dataset
                    job.groups.append(self._actor().real_group.remote(task.digest, dataset, split, begin, end))
                job.num_train_groups = job.num_train_groups or len(job.groups)
        elif task.kind == "pyramid":
            job.last = self._actor().fit_pyramid.remote(task.digest, as_plain(task.config))
        else:
            for begin, end in _groups(task.config.evaluation.num_samples):
                arguments = (task.digest, as_plain(task.config), task.snapshots, task.inputs[-1], begin, end)
                job.groups.append(self._actor().sample_group.remote(*arguments))
        self._jobs[task.digest] = job

    def collect(self) -> list[tuple[Task, str]]:
        """Moves jobs on. Returns the tasks that ended since the last call, each with its error, or "" if it is done."""
        ended = []
        for digest, job in list(self._jobs.items()):
            waiting = [job.last] if job.last is not None else job.groups
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
            try:
                if len(ready) < len(waiting):
                    continue
                ray.get(waiting) if job.last is not None else self._finish(job)
            except Exception as error:  # noqa: BLE001  a remote task can raise anything; the sweep goes on without it
                ended.append((job.task, _reason(error)))
                del self._jobs[digest]
                continue
            if job.last in waiting:
                ended.append((job.task, ""))
                del self._jobs[digest]
        return ended

    def _finish(self, job: _Job) -> None:
        task, seconds = job.task, time.monotonic() - job.started
        if task.kind == "reference":
            card = DATASETS[task.config.data.dataset]
            floor = int(task.payload["floor_images"])
            arguments: tuple[Any, ...] = (task.digest, card.num_classes, floor, seconds, job.num_train_groups)
            job.last = self._actor().finish_reference.remote(*arguments, *job.groups)
        else:
            arguments = (task.digest, as_plain(task.config), task.at_step, task.inputs[-1], seconds)
            job.last = self._actor().finish_evaluation.remote(*arguments, *job.groups)

    def _actor(self) -> Any:
        self._next += 1
        return self._actors[self._next % len(self._actors)]

    def close(self) -> None:
        """Gives the evaluators' resources back."""
        assert not self._jobs, "the pool was closed with work in it"
        for actor in self._actors:
            ray.kill(actor)


def total_units(task: Task) -> int:
    """Units that the progress of a task counts: steps of a training, images of the others."""
    if task.kind == "train":
        return task.until_step
    if task.kind == "evaluate":
        return task.config.evaluation.num_samples
    if task.kind == "pyramid":
        return task.config.decomposition.fit.steps
    card = DATASETS[task.config.data.dataset]
    return card.num_train_images + card.num_reference_images


def _groups(count: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + GROUP_IMAGES, count)) for begin in range(0, count, GROUP_IMAGES)]


def _reason(error: Exception) -> str:
    """The remote error in one line; the traceback is in Ray's logs."""
    cause = getattr(error, "cause", None) or error
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else ''}"
