"""The meter of a sweep's accelerator-seconds: the cost of its tasks before this launch, and of those that run now."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from orchestration.config.workers import WorkersConfig

HOUR = 3600.0


class BudgetMeter:
    """Counts workers times wall time of running tasks; an ended task counts with the cost in its record.

    A training's workers are counted from its launch on, Ray's start included. The evaluators are counted while they
    have something to measure, in equal shares for the tasks that they measure.
    """

    def __init__(
        self,
        spent: Mapping[str, float],
        workers: WorkersConfig,
        clock: Callable[[], float] = time.monotonic,
        *,
        counted: float = 0.0,
    ) -> None:
        """Args: spent: before this launch, by task. counted: by the driver before, in all (`plan.progress`)."""
        self._workers, self._clock = workers, clock
        self._ended = dict(spent)
        self._running: dict[str, float] = defaultdict(float)
        self._unrecorded = max(0.0, counted - sum(spent.values()))
        self._before = self.spent
        self._last = clock()

    def tick(self, trainings: Collection[str], measured: Collection[str], num_evaluators: int) -> None:
        """Count the time since the last tick for the tasks that run."""
        now = self._clock()
        seconds, self._last = now - self._last, now
        for digest in trainings:
            self._running[digest] += seconds * self._workers.num_workers
        for digest in measured:
            self._running[digest] += seconds * num_evaluators / len(measured)

    def ended(self, digest: str, recorded: float | None) -> None:
        """Close the account of a task. Args: recorded: its cost over all attempts; None: it left no record."""
        running = self._running.pop(digest, 0.0)
        self._ended[digest] = self._ended.get(digest, 0.0) + running if recorded is None else recorded

    def of(self, digest: str) -> float:
        """Return the accelerator-seconds of one task."""
        return self._ended.get(digest, 0.0) + self._running.get(digest, 0.0)

    @property
    def spent(self) -> float:
        """Accelerator-seconds of all tasks. Also read by the heartbeat's thread, hence the copies."""
        return self._unrecorded + sum(list(self._ended.values())) + sum(list(self._running.values()))

    @property
    def in_this_launch(self) -> float:
        return self.spent - self._before

    @property
    def is_spent(self) -> bool:
        """True once the sweep's limit is reached."""
        limit = self._workers.max_accelerator_hours
        return limit is not None and self.spent >= limit * HOUR

    def exhausted(self, digest: str) -> str:
        """Return why a training cannot even be started, or ""."""
        limit = self._workers.max_accelerator_hours_per_training
        return over_limit(self.of(digest), limit) if limit is not None and self.of(digest) >= limit * HOUR else ""


def over_limit(seconds: float, limit_hours: float) -> str:
    """Return the reason for a training that has spent its share."""
    return (
        f"it has spent {hours(seconds)} of its {limit_hours:g} accelerator-hours "
        "(workers.max_accelerator_hours_per_training); its checkpoint is kept: submit again with a higher limit"
    )


def hours(seconds: float) -> str:
    """Return accelerator-hours for people: "0.0312", "12.3"."""
    return f"{seconds / HOUR:.3g}"
