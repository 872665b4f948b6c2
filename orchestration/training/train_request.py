"""The request that the workers of a training receive."""

from __future__ import annotations

import os
from dataclasses import dataclass

from orchestration.config.storage import StorageConfig
from orchestration.config.workers import WorkersConfig
from orchestration.storage.store import Store
from orchestration.tasks.task import Task, TrainingTask
from orchestration.training.fault_hook import faults_in


@dataclass(frozen=True)
class TrainRequest:
    """A training of any kind, and the settings that all workers of a launch share."""

    task: TrainingTask
    workers: WorkersConfig
    storage: StorageConfig
    """Place and options of the store, also for users' files beside it."""
    progress_board: str
    """Its name."""
    faults: str = ""
    """Faults on purpose, see `fault_hook`."""
    run_directory: str = ""
    """Directory of the Ray Train run that is this training's own; "": it shares one."""
    system_metrics: bool = False
    """Tell MLflow's system metrics of each node."""

    def open_store(self) -> Store:
        return Store(self.storage.root, self.storage.options, self.storage.retry_policy)


def request_of(
    task: Task, store: Store, workers: WorkersConfig, progress_board: str, *, system_metrics: bool = False
) -> TrainRequest:
    """Return the request of a training of any kind. Args: progress_board: its name."""
    assert isinstance(task, TrainingTask), f"{task.kind} is no training"
    policy = store.retry_policy
    storage = StorageConfig(store.root, store.options, policy.call_seconds, policy.retry_seconds)
    faults = faults_in(os.environ)
    return TrainRequest(task, workers, storage, progress_board, faults, system_metrics=system_metrics)
