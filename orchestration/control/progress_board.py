"""The progress board: workers write what they are doing, the driver reads. A Ray actor; losing it loses no result."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import ray

from dfm_core.training.curve import CurveRow


@dataclass
class ProgressUpdate:
    """What has changed since the driver last looked."""

    done: dict[str, int] = field(default_factory=dict)
    """Units of work done, by digest: steps of a training, images of an evaluation."""
    snapshots: set[tuple[str, int]] = field(default_factory=set)
    """New snapshots of trainings that go on: (digest, step)."""
    rows: dict[str, list[CurveRow]] = field(default_factory=dict)
    """New points of training curves, by digest."""
    stumbles: dict[str, list[str]] = field(default_factory=dict)
    """Errors after which Ray starts a task's workers again, by digest."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a task gave up, by digest."""
    stopped: dict[str, int] = field(default_factory=dict)
    """Steps at which trainings stopped because the driver wanted it, by digest."""


class _ProgressBoard:
    def __init__(self) -> None:
        self._news = ProgressUpdate()
        self._done: dict[str, dict[str, int]] = {}
        self._stopping = False

    def reached(self, digest: str, done: int, part: str = "") -> None:
        """Units done so far; of a part of the task, which counts once however often it is done again."""
        parts = self._done.setdefault(digest, {})
        parts[part] = done
        self._news.done[digest] = sum(parts.values())

    def published(self, digest: str, step: int) -> None:
        """A snapshot can be read from now on."""
        self._news.snapshots.add((digest, step))

    def curve(self, digest: str, rows: list[CurveRow]) -> None:
        self._news.rows.setdefault(digest, []).extend(rows)

    def stumbled(self, digest: str, message: str) -> None:
        self._news.stumbles.setdefault(digest, []).append(message)

    def failed(self, digest: str, message: str) -> None:
        self._news.failures[digest] = message

    def stop(self) -> None:
        """The driver wants trainings to stop at a checkpoint. It says so again and again: a new board forgot it."""
        self._stopping = True

    def stopping(self) -> bool:
        return self._stopping

    def stopped(self, digest: str, step: int) -> None:
        self._news.stopped[digest] = step

    def news(self) -> ProgressUpdate:
        """Everything since the last call."""
        news, self._news = self._news, ProgressUpdate()
        return news


def start_progress_board() -> tuple[str, Any]:
    """Starts a board. Returns its name, for `find_progress_board`, and the handle with which it ends."""
    name = f"board-{uuid.uuid4().hex}"
    return name, ray.remote(_ProgressBoard).options(name=name, num_cpus=0, max_restarts=-1).remote()


def find_progress_board(name: str) -> Any:
    """A handle on a board, in any process of the job.

    Handles are looked up, not passed to actors' constructors: Ray keeps a passed handle in the object store, from
    where a restarted actor might not get it back.
    """
    return ray.get_actor(name)
