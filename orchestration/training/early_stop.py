"""Early stop of a training: all its workers agree on it at a point of the curve.

Worker 0 knows, since it asks the progress board and counts the cost; the others learn it by one number each, which is
exchanged right after the curve's own numbers.
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
    """One worker's part in the agreement."""

    def __init__(
        self,
        progress_board: Any,
        engine: TrainingEngine,
        limit_hours: float | None,
        spent_seconds: Callable[[], float],
        is_preempted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Args: limit_hours: limit of accelerator-hours for this training. spent_seconds: accelerator-seconds so far.
        is_preempted: tells whether a node of this training is to be taken away."""
        self._progress_board, self._engine, self._is_preempted = progress_board, engine, is_preempted
        self._limit_hours, self._spent_seconds = limit_hours, spent_seconds
        self._answer: Any = None
        self._asked = 0.0
        self._is_asked_to_stop = False

    def look(self) -> None:
        """Ask the progress board now and then, and never wait for its answer."""
        if self._engine.rank != 0 or self._is_asked_to_stop:
            return
        if self._answer is None:
            if time.monotonic() - self._asked > _ASK_SECONDS:
                self._asked = time.monotonic()
                self._answer = self._progress_board.stopping.remote()
            return
        if not ray.wait([self._answer], timeout=0)[0]:
            return
        answer, self._answer = self._answer, None
        try:
            self._is_asked_to_stop = ray.get(answer)
        except ray.exceptions.RayActorError:
            return  # the board is restarted by Ray, and the driver repeats its request

    def agreed(self) -> StopReason:
        """Return why all workers stop now; "" if they go on. Collective."""
        reason = self._own_reason() if self._engine.rank == 0 else ""
        own = torch.tensor([float(_REASONS.index(reason))], dtype=torch.float64)
        return _REASONS[round(float(self._engine.mean(own)) * self._engine.world_size)]

    def _own_reason(self) -> StopReason:
        if self._limit_hours is not None and self._spent_seconds() >= self._limit_hours * HOUR:
            return "limit"
        if self._is_asked_to_stop:
            return "driver"
        return "preempted" if self._is_preempted() else ""


class PreemptedError(Exception):
    """Ends this attempt at a checkpoint, so that the next begins at once, elsewhere."""
