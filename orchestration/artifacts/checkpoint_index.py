"""Which checkpoints of a training the store holds; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.artifacts.task_record import cost_in
from orchestration.storage.layout import TaskPaths, step_of
from orchestration.storage.store import Store


def newest_checkpoint(store: Store, digest: str) -> CheckpointProgress | None:
    """None if the training has no checkpoint."""
    paths = TaskPaths(digest)
    steps = [step for name in store.names(paths.checkpoints) if (step := step_of(name)) is not None]
    for step in sorted(steps, reverse=True):
        manifest = store.manifest(paths.checkpoint(step))
        if manifest is not None:
            about = manifest["about"]
            return CheckpointProgress(step, cost_in(about.get("spent") if isinstance(about, Mapping) else None))
    return None


@dataclass(frozen=True)
class CheckpointProgress:
    """The newest published checkpoint of a training; its files are not verified."""

    step: int
    accelerator_seconds: float
