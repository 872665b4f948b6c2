"""The meter of a sweep's accelerator-seconds: those that its workers hold, and those in which they work.

A budget counts what is held: an accelerator that waits for a storage or for the next task costs as much as one that
works. Records, and limits of a single training, count the work.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from orchestration.common.wording import rounded
from orchestration.config.workers import WorkersConfig

HOUR = 3600.0


class BudgetMeter:
    """Counts held accelerators times wall time; and for each task workers times wall time, or the cost in its record.

    A training's workers are busy while it runs, and the evaluators while they have something to measure, in equal
    shares for the tasks that they measure; but no more are busy than are held.
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
        self._busy_before = sum(spent.values())
        self._held_before = max(counted, self._busy_before)
        self._last = clock()
        self.held_in_this_launch = 0.0
        """Accelerator-seconds that workers and evaluators had the accelerators for."""

    def tick(self, trainings: Collection[str], measured: Collection[str], num_evaluators: int, held: float) -> None:
        """Count the time since the last tick for the tasks that run. Args: held: accelerators that are held."""
        now = self._clock()
        seconds, self._last = now - self._last, now
        self.held_in_this_launch += seconds * held
        busy = dict.fromkeys(trainings, float(self._workers.num_workers))
        busy |= {digest: num_evaluators / len(measured) for digest in measured}
        # Workers that wait for resources hold none, and an evaluator can have a share of a GPU.
        share = min(1.0, held / sum(busy.values())) if busy else 0.0
        for digest, number in busy.items():
            self._running[digest] += seconds * share * number

    def ended(self, digest: str, recorded: float | None) -> None:
        """Close the account of a task. Args: recorded: its cost over all attempts; None: it left no record."""
        running = self._running.pop(digest, 0.0)
        self._ended[digest] = self._ended.get(digest, 0.0) + running if recorded is None else recorded

    def of(self, digest: str) -> float:
        """Return the accelerator-seconds of one task."""
        return self._ended.get(digest, 0.0) + self._running.get(digest, 0.0)

    @property
    def spent(self) -> float:
        """Accelerator-seconds that were held, earlier submissions included. Also read by the heartbeat's thread."""
        return self._held_before + self.held_in_this_launch

    @property
    def busy_in_this_launch(self) -> float:
        """Accelerator-seconds of the tasks alone."""
        return sum(self._ended.values()) + sum(self._running.values()) - self._busy_before

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
    """Return accelerator-hours for people: "0.0312", "12.3", "2,900"."""
    return rounded(seconds / HOUR)
