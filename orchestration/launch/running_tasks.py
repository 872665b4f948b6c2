"""The tasks that run now, and the processes that run them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from orchestration.config.workers import WorkersConfig
from orchestration.evaluation.pool import EvaluationPool
from orchestration.tasks.task import Task, TrainingTask
from orchestration.training.worker_group_pool import WorkerGroupPool

IDLE_SECONDS = 60.0
"""Time without work after which workers and evaluators end, so that their accelerators cost no more."""


@dataclass
class RunningTasks:
    """Trainings on worker groups, all other tasks on evaluators."""

    groups: WorkerGroupPool
    pool: EvaluationPool | None = None
    trainings: dict[Future[None], TrainingTask] = field(default_factory=dict)
    measured: dict[str, Task] = field(default_factory=dict)
    """Tasks on evaluators, by digest."""

    def __bool__(self) -> bool:
        return bool(self.trainings) or (self.pool is not None and self.pool.busy)

    def leave(self, *, cluster_is_lost: bool) -> None:
        """Stop what runs, before Ray is left. Args: cluster_is_lost: nobody is there who could be told."""
        self.groups.leave(self.trainings, cluster_is_lost=cluster_is_lost)
        if self.pool is not None and not cluster_is_lost:
            self.pool.abandon()

    def release_idle(self) -> None:
        """Free the accelerators of workers and evaluators that had no work for a while; they start again on demand."""
        self.groups.close_idle(IDLE_SECONDS)
        if self.pool is not None:
            self.pool.release_idle(IDLE_SECONDS)

    @property
    def training_digests(self) -> list[str]:
        return [task.digest for task in self.trainings.values()]

    def accelerators(self, workers: WorkersConfig) -> tuple[float, float]:
        """Return how many GPUs, or CPU workers where there is none, are held, and how many of these have no work."""
        held, idle = (num * float(workers.num_workers) for num in (self.groups.num_open, self.groups.num_idle))
        if self.pool is not None:
            each = workers.gpus_per_evaluator if workers.use_gpu else 1.0
            held += each * self.pool.num_evaluators
            idle += each * self.pool.num_idle
        return held, idle
