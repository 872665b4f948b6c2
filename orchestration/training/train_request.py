"""The requests that workers of a training receive: plain data for the way between processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from dfm_core.config import as_plain
from orchestration.config.storage import StorageConfig
from orchestration.config.workers import WorkersConfig
from orchestration.storage.layout import SnapshotRef
from orchestration.storage.retry import RetryPolicy
from orchestration.storage.store import Store
from orchestration.tasks.task import FinetuneAutoencoderTask, Task, TrainTask
from orchestration.training.step_hook import faults_in


@dataclass(frozen=True)
class FinetuneRequest:
    """A fine-tuning of an autoencoder."""

    digest: str
    """That of `finetune_payload`."""
    config: dict[str, Any]
    """`FinetuningConfig`."""
    initial: dict[str, Any]
    """`InitialAutoencoder`."""
    data: dict[str, Any]
    """`DataConfig` of the pixels; names no autoencoder."""
    latents: str
    """Digest of the task that made a store of these pixels; "": they are embedded."""
    at: WorkerEnvironment


def request_of(task: Task, store: Store, workers: WorkersConfig, progress_board: str) -> Request:
    """Return the request of a training of any kind. Args: progress_board: its name."""
    at = worker_environment(store, workers, progress_board)
    match task:
        case TrainTask():
            return train_request(task, at)
        case FinetuneAutoencoderTask(recipe=recipe):
            return FinetuneRequest(
                digest=task.digest,
                config=as_plain(recipe.training),
                initial=as_plain(recipe.initial),
                data=as_plain(recipe.data),
                latents=task.latents,
                at=at,
            )
        case _:
            raise TypeError(f"{task.kind} is no training")


@dataclass(frozen=True)
class WorkerEnvironment:
    """Store, progress board and settings that all workers of a launch share."""

    workers: dict[str, Any]
    """`WorkersConfig`."""
    store_root: str
    store_options: dict[str, str] = field(repr=False)
    retry_policy: RetryPolicy
    progress_board: str

    def open_store(self) -> Store:
        return Store(self.store_root, self.store_options, self.retry_policy)

    @property
    def storage(self) -> StorageConfig:
        """Storage settings for opening users' files beside the store."""
        policy = self.retry_policy
        return StorageConfig(self.store_root, self.store_options, policy.call_seconds, policy.retry_seconds)


def worker_environment(store: Store, workers: WorkersConfig, progress_board: str) -> WorkerEnvironment:
    """Return the environment of all workers. Args: progress_board: its name."""
    return WorkerEnvironment(as_plain(workers), store.root, store.options, store.retry_policy, progress_board)


@dataclass(frozen=True)
class TrainRequest:
    """A training of a model."""

    digest: str
    config: dict[str, Any]
    until_step: int
    snapshot_steps: tuple[int, ...]
    raw_steps: tuple[int, ...]
    initial: SnapshotRef | None
    pyramid: str
    latents: str
    at: WorkerEnvironment
    faults: str = ""
    """Faults on purpose, see `step_hook`."""


Request = TrainRequest | FinetuneRequest
"""A training of any kind."""


def train_request(task: TrainTask, at: WorkerEnvironment) -> TrainRequest:
    """Return the request of a `train` task."""
    return TrainRequest(
        digest=task.digest,
        config=as_plain(task.config),
        until_step=task.until_step,
        snapshot_steps=task.snapshot_steps,
        raw_steps=task.raw_steps,
        initial=task.initial,
        pyramid=task.pyramid,
        latents=task.latents,
        at=at,
        faults=faults_in(os.environ),
    )
