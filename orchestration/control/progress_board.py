"""The progress board, a Ray actor: workers write how far they are, the driver reads it. Losing it loses no result."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import ray

from dfm_core.training.curve import CurveRow


@dataclass
class ProgressUpdate:
    """All changes since the driver's last look."""

    done: dict[str, int] = field(default_factory=dict)
    """Units of work done, by digest: steps of a training, images of an evaluation."""
    snapshots: set[tuple[str, int]] = field(default_factory=set)
    """New snapshots of trainings that go on: (digest, step)."""
    rows: dict[str, list[CurveRow]] = field(default_factory=dict)
    """New points of training curves, by digest."""
    retries: dict[str, list[str]] = field(default_factory=dict)
    """Errors after which Ray restarts a task's workers, by digest."""
    lost: dict[str, list[str]] = field(default_factory=dict)
    """The same as Ray Train's controllers see them: also those of workers that could say nothing."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons why tasks gave up, by digest."""
    stopped: dict[str, int] = field(default_factory=dict)
    """Steps at which trainings stopped because the driver wanted it, by digest."""


class _ProgressBoard:
    def __init__(self) -> None:
        self._update = ProgressUpdate()
        self._done: dict[str, dict[str, int]] = {}
        self._stopping = False

    def reached(self, digest: str, done: int, part: str = "") -> None:
        """Set the units done so far; of a part of the task, which counts once however often it is done again."""
        parts = self._done.setdefault(digest, {})
        parts[part] = done
        self._update.done[digest] = sum(parts.values())

    def published(self, digest: str, step: int) -> None:
        """Tell that a snapshot can be read from now on."""
        self._update.snapshots.add((digest, step))

    def curve(self, digest: str, rows: list[CurveRow]) -> None:
        self._update.rows.setdefault(digest, []).extend(rows)

    def retried(self, digest: str, message: str) -> None:
        self._update.retries.setdefault(digest, []).append(message)

    def lost(self, digest: str, message: str) -> None:
        self._update.lost.setdefault(digest, []).append(message)

    def failed(self, digest: str, message: str) -> None:
        self._update.failures[digest] = message

    def stop(self) -> None:
        """Ask trainings to stop at a checkpoint. The driver repeats it: a restarted board has forgotten it."""
        self._stopping = True

    def stopping(self) -> bool:
        return self._stopping

    def stopped(self, digest: str, step: int) -> None:
        self._update.stopped[digest] = step

    def take_update(self) -> ProgressUpdate:
        """Return everything since the last call."""
        update, self._update = self._update, ProgressUpdate()
        return update


def start_progress_board() -> tuple[str, Any]:
    """Start a board. Return its name, for `find_progress_board`, and the handle whose loss ends it."""
    name = f"board-{uuid.uuid4().hex}"
    return name, ray.remote(_ProgressBoard).options(name=name, num_cpus=0, max_restarts=-1).remote()


def find_progress_board(name: str) -> Any:
    """Return a handle on a board, in any process of the job.

    Handles are looked up, not passed to actors' constructors: Ray keeps a passed handle in the object store, from
    where a restarted actor might not get it back.
    """
    return ray.get_actor(name)
