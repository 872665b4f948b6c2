"""Whether a training's workers should stop before its end: agreed on by all of them, at a point of the curve.

Worker 0 knows, since it asks the driver's board and counts the cost; the others learn it with one number each, which is
exchanged where the curve's own numbers were exchanged a moment before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import ray
import torch

from dfm_core.training.engine import TrainingEngine
from orchestration.control.budget_meter import HOUR

StopReason = Literal["", "driver", "limit", "preempted"]
_REASONS: tuple[StopReason, ...] = ("", "driver", "limit", "preempted")
_ASK_SECONDS = 0.5


class StoppedEarlyError(Exception):
    """Ends the training loop; the checkpoint is written."""


class EarlyStop:
    """One worker's part in it."""

    def __init__(
        self,
        board: Any,
        engine: TrainingEngine,
        limit_hours: float | None,
        spent_seconds: Callable[[], float],
        is_preempted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Args: limit_hours: of accelerators, for this training. spent_seconds: of accelerators, so far. is_preempted:
        whether a node of this training is to be taken away."""
        self._board, self._engine, self._is_preempted = board, engine, is_preempted
        self._limit_hours, self._spent_seconds = limit_hours, spent_seconds
        self._answer: Any = None
        self._asked = 0.0
        self._wanted = False

    def look(self) -> None:
        """Asks the board now and then, and never waits for its answer."""
        if self._engine.rank != 0 or self._wanted:
            return
        if self._answer is None:
            if time.monotonic() - self._asked > _ASK_SECONDS:
                self._asked = time.monotonic()
                self._answer = self._board.stopping.remote()
            return
        if not ray.wait([self._answer], timeout=0)[0]:
            return
        answer, self._answer = self._answer, None
        try:
            self._wanted = ray.get(answer)
        except ray.exceptions.RayActorError:
            return  # the board starts again by itself, and the driver repeats what it wants

    def agreed(self) -> StopReason:
        """Why all workers stop now. Collective."""
        reason: StopReason = ""
        if self._engine.rank == 0:
            over = self._limit_hours is not None and self._spent_seconds() >= self._limit_hours * HOUR
            reason = "limit" if over else "driver" if self._wanted else "preempted" if self._is_preempted() else ""
        own = torch.tensor([float(_REASONS.index(reason))], dtype=torch.float64)
        return _REASONS[round(float(self._engine.mean(own)) * self._engine.world_size)]


class PreemptedError(Exception):
    """Ends this attempt at a checkpoint, so that the next begins at once, elsewhere."""
