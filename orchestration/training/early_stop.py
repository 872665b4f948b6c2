"""Early stop of a training: all its workers agree on it at a point of the curve.

Worker 0 knows, since it asks the progress board and counts the cost; the others learn it by one number each, which is
exchanged right after the curve's own numbers. Of a node that is to be taken away Ray Train tells all of them, in a call
that all make together; it takes milliseconds, so worker 0 says when.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, cast

import ray
import torch

from dfm_core.training.engine import TrainingEngine
from orchestration.control.budget_meter import HOUR

StopReason = Literal["", "driver", "limit", "preempted"]
_ASK_RAY_TRAIN = "ask"
_SAID = ("", "driver", "limit", _ASK_RAY_TRAIN)
_ASK_SECONDS = 0.5
_PREEMPTION_SECONDS = 1.0


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
        preemption_info: Callable[[], object | None] = lambda: None,
    ) -> None:
        """Args: limit_hours: limit of accelerator-hours for this training. spent_seconds: accelerator-seconds so far.
        preemption_info: collective; tells whether a node of this training is to be taken away."""
        self._progress_board, self._engine, self._preemption_info = progress_board, engine, preemption_info
        self._limit_hours, self._spent_seconds = limit_hours, spent_seconds
        self._answer: Any = None
        self._asked = 0.0
        self._asked_ray_train = time.monotonic()
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
        own = torch.tensor([float(_SAID.index(reason))], dtype=torch.float64)
        said = _SAID[round(float(self._engine.mean(own)) * self._engine.world_size)]
        if said == _ASK_RAY_TRAIN:
            return "preempted" if self._preemption_info() is not None else ""
        return cast("StopReason", said)

    def _own_reason(self) -> str:
        if self._limit_hours is not None and self._spent_seconds() >= self._limit_hours * HOUR:
            return "limit"
        if self._is_asked_to_stop:
            return "driver"
        if time.monotonic() - self._asked_ray_train < _PREEMPTION_SECONDS:
            return ""
        self._asked_ray_train = time.monotonic()
        return _ASK_RAY_TRAIN


class PreemptedError(ray.exceptions.RayActorError):  # type: ignore[misc]  # ray is not typed
    """Ends this attempt at a checkpoint, so that the next begins at once, elsewhere.

    Ray Train takes it for what it is, an actor's end by a preemption, and counts it as such.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(error_msg=reason, preempted=True)
