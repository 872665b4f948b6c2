"""The checkpoints of a training that the store holds; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.artifacts.task_record import cost_in
from orchestration.storage.layout import TaskPaths, step_of
from orchestration.storage.store import Store


def listed_steps(store: Store, digest: str) -> list[int]:
    """Return the steps of all checkpoint directories of a training, published or not; ascending."""
    steps = (step_of(name) for name in store.names(TaskPaths(digest).checkpoints))
    return sorted(step for step in steps if step is not None)


def newest_checkpoint(store: Store, digest: str) -> CheckpointProgress | None:
    """Return the newest published checkpoint of a training; None if it has none."""
    paths = TaskPaths(digest)
    for step in reversed(listed_steps(store, digest)):
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
