"""Calls of evaluators, and jobs: generators that give calls and get their results."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from orchestration.group_work import GroupReport, GroupWork
from orchestration.storage import Store
from orchestration.tasks import Task


@dataclass(frozen=True)
class Call:
    """One call of an evaluator."""

    method: str
    arguments: tuple[Any, ...]
    large: bool = False
    """The method answers (None, result) and the result stays with Ray: the job is sent a reference to it."""
    key: str = ""
    """Calls of equal keys are made once at a time; "": it has no twin."""


Job = Generator[list[Call], list[Any], None]
Reports = list[tuple[GroupWork, GroupReport]]


@dataclass(frozen=True)
class JobContext:
    """What jobs need of the driver."""

    store: Store
    keep_features: bool
    keep_samples: bool
    clock: Callable[[], float]
    """Seconds since the job was submitted."""
    reached: Callable[[Task, int, str], None]
    """Progress: (task, units, part)."""
    failed: Callable[[Task, str], None]
    """A task ends with this reason; the others of its family go on."""
    reports: Reports = field(default_factory=list)
    """Of all attempts at the job, which adds its own."""
