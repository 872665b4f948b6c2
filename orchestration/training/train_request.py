"""What the workers of a fine-tuning are told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from dfm_core.autoencoder_training.config import FinetuningConfig
from dfm_core.config import DataConfig, as_plain
from orchestration.config.storage import StorageConfig
from orchestration.config.workers import WorkersConfig
from orchestration.data.autoencoder_recipe import InitialAutoencoder
from orchestration.storage.layout import SnapshotRef
from orchestration.storage.retry import RetryPolicy
from orchestration.storage.store import Store
from orchestration.tasks.task import FinetuneAutoencoderTask, Task, TrainTask
from orchestration.training.step_hook import faults_in


@dataclass(frozen=True)
class FinetuneRequest:
    """All that the workers of one fine-tuning are told; plain data."""

    digest: str
    config: dict[str, Any]
    """`FinetuningConfig`."""
    initial: dict[str, Any]
    """`InitialAutoencoder`."""
    data: dict[str, Any]
    """`DataConfig` of the pixels; names no autoencoder."""
    latents: str
    """Digest of the task that made a store of these pixels; "": they are embedded."""
    at: WorkerEnvironment


def finetune_request(
    digest: str,
    config: FinetuningConfig,
    initial: InitialAutoencoder,
    data: DataConfig,
    latents: str,
    at: WorkerEnvironment,
) -> FinetuneRequest:
    """Args: digest: of `finetune_payload`. latents: digest of the task that keeps the pixels; "": they are embedded."""
    return FinetuneRequest(
        digest=digest,
        config=as_plain(config),
        initial=as_plain(initial),
        data=as_plain(data),
        latents=latents,
        at=at,
    )


def request_of(task: Task, store: Store, workers: WorkersConfig, board: str) -> Request:
    at = worker_environment(store, workers, board)
    match task:
        case TrainTask():
            return train_request(task, at)
        case FinetuneAutoencoderTask(recipe=recipe):
            return finetune_request(task.digest, recipe.training, recipe.initial, recipe.data, task.latents, at)
        case _:
            raise TypeError(f"{task.kind} is no training")


@dataclass(frozen=True)
class WorkerEnvironment:
    """The store, the board and how they are laid out; plain data for a journey between processes."""

    workers: dict[str, Any]
    """`WorkersConfig`."""
    store_root: str
    store_options: dict[str, str] = field(repr=False)
    retry_policy: RetryPolicy
    board: str

    def open_store(self) -> Store:
        return Store(self.store_root, self.store_options, self.retry_policy)

    @property
    def storage(self) -> StorageConfig:
        """For what opens files of users' beside the store."""
        policy = self.retry_policy
        return StorageConfig(self.store_root, self.store_options, policy.call_seconds, policy.retry_seconds)


def worker_environment(store: Store, workers: WorkersConfig, board: str) -> WorkerEnvironment:
    """Args: board: its name."""
    return WorkerEnvironment(as_plain(workers), store.root, store.options, store.retry_policy, board)


@dataclass(frozen=True)
class TrainRequest:
    """All that the workers of one training are told; plain data."""

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
"""What the workers of a training of any kind are told."""


def train_request(task: TrainTask, at: WorkerEnvironment) -> TrainRequest:
    """What the workers of a training are told."""
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
