"""The progress board: workers write what they are doing, the driver reads. A Ray actor; losing it loses no result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ray

from dfm_core.training.curve import CurveRow


@dataclass
class BoardNews:
    """What has changed since the driver last looked."""

    done: dict[str, int] = field(default_factory=dict)
    """Units of work done, by digest: steps of a training, images of an evaluation."""
    rows: dict[str, list[CurveRow]] = field(default_factory=dict)
    """New points of training curves, by digest."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a task gave up, by digest."""


class _Board:
    def __init__(self) -> None:
        self._news = BoardNews()
        self._done: dict[str, int] = {}

    def reached(self, digest: str, done: int) -> None:
        """Units done so far."""
        self._done[digest] = done
        self._news.done[digest] = done

    def advanced(self, digest: str, units: int) -> None:
        """More units done."""
        self.reached(digest, self._done.get(digest, 0) + units)

    def curve(self, digest: str, rows: list[CurveRow]) -> None:
        self._news.rows.setdefault(digest, []).extend(rows)

    def failed(self, digest: str, message: str) -> None:
        self._news.failures[digest] = message

    def news(self) -> BoardNews:
        """Everything since the last call."""
        news, self._news = self._news, BoardNews()
        return news


def start_board() -> Any:
    """A handle on a new board."""
    return ray.remote(_Board).options(num_cpus=0, max_restarts=-1).remote()
