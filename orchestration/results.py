"""The record of a finished task: published in the store, the truth from which MLflow is filled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dfm_core.training.curve import CurveRow
from orchestration.layout import TaskPaths
from orchestration.storage import Store


@dataclass(frozen=True)
class TaskResult:
    """What a task found."""

    digest: str
    kind: str
    metrics: Mapping[str, float]
    seconds: float
    step: int = 0
    """Training step to which the metrics belong; for a training, the last step done."""
    curve: tuple[CurveRow, ...] = ()
    files: tuple[str, ...] = ()
    """Names of the files beside the record, to be shown with the task."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Anything else worth keeping, as JSON."""


def write_result(store: Store, result: TaskResult) -> None:
    """Publishes the record; its files must be in place."""
    store.write(TaskPaths(result.digest).result, json.dumps(vars(result), sort_keys=True).encode())


def read_result(store: Store, digest: str) -> TaskResult | None:
    """The record of a task, or None if it is not done (an unreadable record counts as not done)."""
    path = TaskPaths(digest).result
    try:
        data = json.loads(store.read(path))
        return TaskResult(**{**data, "curve": tuple(data["curve"]), "files": tuple(data["files"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
