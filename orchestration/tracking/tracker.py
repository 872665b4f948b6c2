"""The tracking protocol: the calls by which a launch reports its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dfm_core.training.curve import CurveRow
from orchestration.artifacts.task_record import TaskRecord
from orchestration.tasks.task import Task


class TaskTracker(Protocol):
    """A tracker of tasks; see `orchestration.tracking.mlflow_tracker`."""

    @property
    def num_lacking(self) -> int: ...

    def is_complete(self, digest: str) -> bool: ...

    def describe(self, task: Task) -> None: ...

    def begin(self, task: Task) -> None: ...

    def curve(self, task: Task, rows: Sequence[CurveRow]) -> None: ...

    def complete(self, task: Task, result: TaskRecord, training: Task | None = None) -> None: ...

    def tag(self, digest: str, tags: Mapping[str, str]) -> None: ...

    def fail(self, task: Task, message: str) -> None: ...
