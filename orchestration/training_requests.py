"""What the workers of a training of any kind are told."""

from __future__ import annotations

from orchestration.finetune_request import finetune_request
from orchestration.runtime import WorkersConfig
from orchestration.storage import Store
from orchestration.tasks import Task
from orchestration.train_task import Request, train_request
from orchestration.workplace import workplace


def request_of(task: Task, store: Store, workers: WorkersConfig, board: str) -> Request:
    at = workplace(store, workers, board)
    if task.making is None:
        return train_request(task, at)
    making = task.making
    return finetune_request(
        task.digest,
        making.training,
        making.initial,
        making.data,
        task.latents,
        at,
    )
